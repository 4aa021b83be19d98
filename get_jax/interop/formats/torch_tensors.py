"""Replacements of the global names in PyTorch's pickles: storages, tensors."""

import dataclasses
import math
import types
from typing import Any

import ml_dtypes
import numpy as np

from get_jax.interop.formats.safe_pickle import (
  AllowedGlobals,
  GlobalName,
  OpaqueObject,
  RejectedFileError,
  quote,
)

STORAGE_DTYPES = {
  "torch.DoubleStorage": np.dtype("<f8"),
  "torch.FloatStorage": np.dtype("<f4"),
  "torch.HalfStorage": np.dtype("<f2"),
  "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "torch.LongStorage": np.dtype("<i8"),
  "torch.IntStorage": np.dtype("<i4"),
  "torch.ShortStorage": np.dtype("<i2"),
  "torch.CharStorage": np.dtype("i1"),
  "torch.ByteStorage": np.dtype("u1"),
  "torch.BoolStorage": np.dtype("?"),
}

_MAX_AXES = 32


@dataclasses.dataclass(frozen=True)
class Storage:
  """A contiguous range of numbers in a file.

  Attributes:
    dtype: type of the numbers.
    data: their bytes, or None if they are not located yet.
  """

  dtype: np.dtype
  data: memoryview | None


def storage_dtype(name: Any) -> np.dtype:
  """Returns the number type of a storage class.

  Args:
    name: the global name of the class, from a persistent id.

  Raises:
    RejectedFileError: the class is unknown.
  """
  if not isinstance(name, GlobalName) or name.path not in STORAGE_DTYPES:
    raise RejectedFileError("its pickle refers to a storage of an unknown type")
  return STORAGE_DTYPES[name.path]


def rebuild_tensor(
  storage: Any,
  offset: Any,
  size: Any,
  stride: Any,
  requires_grad: Any = False,
  hooks: Any = None,
  metadata: Any = None,
) -> np.ndarray | None:
  """Returns a tensor as a view of its storage, without a copy.

  A view may not be larger than its storage. This excludes broadcast tensors,
  with which a file of a few bytes could request any amount of memory.

  The arguments come from the file and are checked.

  Args:
    storage: a `Storage`.
    offset: index of the first element.
    size: shape.
    stride: strides in elements, per axis.
    requires_grad: not used.
    hooks: not used.
    metadata: flags that PyTorch applies lazily, such as conjugation; none is
      supported.

  Returns:
    A read-only array, or None if the storage is not located yet.

  Raises:
    RejectedFileError: the tensor exceeds its storage, or an argument has a
      wrong type.
  """
  if not isinstance(storage, Storage) or metadata:
    raise RejectedFileError(
      "its pickle makes a tensor from an object that is not a storage"
    )
  if storage.data is None:
    return None
  size, stride = _checked_sizes(size), _checked_sizes(stride)
  (offset,) = _checked_sizes((offset,))
  itemsize = storage.dtype.itemsize
  length = storage.data.nbytes // itemsize
  if math.prod(size) == 0:
    return np.zeros(size, storage.dtype)
  axes = list(zip(size, stride, strict=True))
  if math.prod(size) > length or (0, True) in {(s, n > 1) for n, s in axes}:
    raise RejectedFileError(
      f"it declares a tensor of shape {size} and strides {stride} on a storage "
      f"of {length} elements"
    )
  if offset + sum((n - 1) * step for n, step in axes) >= length:
    raise RejectedFileError(
      f"it declares a tensor of shape {size} and strides {stride} that "
      f"reaches beyond its storage of {length} elements"
    )
  # The stride of an axis of length one is arbitrary and never used.
  steps = [0 if n == 1 else step * itemsize for n, step in axes]
  return np.ndarray(size, storage.dtype, storage.data, offset * itemsize, steps)


def _checked_sizes(values: Any) -> tuple[int, ...]:
  valid = isinstance(values, tuple) and len(values) <= _MAX_AXES
  if not valid or not all(type(v) is int and 0 <= v < 2**62 for v in values):
    raise RejectedFileError(
      "it declares a tensor whose shape is not a tuple of sizes"
    )
  return values


def _parameter(data, *_):
  return data


def _ordered_dict(pairs=()):
  if pairs and not all(isinstance(k, str) for k, _ in pairs):
    raise RejectedFileError(
      "its pickle has a key that is neither a string nor a number"
    )
  return dict(pairs)


def _encode(text, encoding):
  # Pickle protocol 2 stores bytes this way.
  if encoding not in ("latin1", "latin-1"):
    raise RejectedFileError(
      f"its pickle encodes text as {quote(str(encoding))}"
    )
  return text.encode("latin1")


def _dtype(code, *_):
  return OpaqueObject(f"numpy {code}")


def _scalar(dtype, value):
  known = isinstance(dtype, OpaqueObject) and dtype.class_name in _SCALARS
  if not known or (dtype.state and dtype.state[1] == ">"):
    raise RejectedFileError(
      "its pickle holds a NumPy scalar of an unknown type"
    )
  return np.frombuffer(value, _SCALARS[dtype.class_name], 1)[0]


_SCALARS = {
  f"numpy {code}": np.dtype(f"<{code}")
  for code in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "b1")
}

# Data other than tensors, such as options, counters and best scores.
PLAIN_GLOBALS: AllowedGlobals = {
  "collections.OrderedDict": _ordered_dict,
  "argparse.Namespace": types.SimpleNamespace,
  "_codecs.encode": _encode,
  "numpy.dtype": _dtype,
  "numpy.core.multiarray.scalar": _scalar,
  "numpy._core.multiarray.scalar": _scalar,
}

TENSOR_GLOBALS: AllowedGlobals = {
  "torch._utils._rebuild_tensor_v2": rebuild_tensor,
  "torch._utils._rebuild_parameter": _parameter,
  "torch._utils._rebuild_parameter_with_state": _parameter,
}

STORAGE_GLOBALS: AllowedGlobals = dict.fromkeys(STORAGE_DTYPES)

TORCH_GLOBALS: AllowedGlobals = {
  **PLAIN_GLOBALS,
  **TENSOR_GLOBALS,
  **STORAGE_GLOBALS,
}
