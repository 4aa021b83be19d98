"""What the names in torch's pickles stand for: storages and views of them."""

import dataclasses
import math
import types
from typing import Any

import ml_dtypes
import numpy as np

from get_jax.interop.formats.safe_pickle import Name, Record, Refusal

STORAGES = {
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
  """A run of numbers in the file; `data` is None while not yet located."""

  dtype: np.dtype
  data: memoryview | None


def storage_type(name: Any) -> np.dtype:
  """The number type of a storage class that a persistent id names."""
  if not isinstance(name, Name) or name.path not in STORAGES:
    raise Refusal("its pickle refers to a storage of an unknown type")
  return STORAGES[name.path]


def rebuild_tensor(
  storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None
) -> np.ndarray | None:
  """The view of a storage that a tensor is; nothing is copied.

  A view may not be larger than its storage: that leaves out broadcast tensors,
  with which a file of a few bytes could ask for any amount of memory.

  Args:
    storage: the `Storage`.
    offset: first element.
    size: shape.
    stride: elements from one index to the next, per axis.
    requires_grad: not used.
    hooks: not used.
    metadata: bits that torch applies lazily; none is understood.

  Returns:
    A read-only array, or None while the storage is not yet located.
  """
  if not isinstance(storage, Storage) or metadata:
    raise Refusal("its pickle makes a tensor of something that is no storage")
  if storage.data is None:
    return None
  size, stride = _whole_numbers(size), _whole_numbers(stride)
  (offset,) = _whole_numbers((offset,))
  itemsize = storage.dtype.itemsize
  held = storage.data.nbytes // itemsize
  if math.prod(size) == 0:
    return np.zeros(size, storage.dtype)
  axes = list(zip(size, stride, strict=True))
  if math.prod(size) > held or (0, True) in {(s, n > 1) for n, s in axes}:
    raise Refusal(
      f"it declares a tensor of shape {size} and strides {stride} on a storage "
      f"of {held} elements"
    )
  if offset + sum((n - 1) * step for n, step in axes) >= held:
    raise Refusal(
      f"it declares a tensor of shape {size} and strides {stride} that "
      f"reaches beyond its storage of {held} elements"
    )
  # The stride of an axis of length one is arbitrary and never used.
  steps = [0 if n == 1 else step * itemsize for n, step in axes]
  return np.ndarray(size, storage.dtype, storage.data, offset * itemsize, steps)


def _whole_numbers(values: Any) -> tuple[int, ...]:
  known = isinstance(values, tuple) and len(values) <= _MAX_AXES
  if not known or not all(type(v) is int and 0 <= v < 2**62 for v in values):
    raise Refusal("it declares a tensor whose shape is no tuple of sizes")
  return values


def _parameter(data, *_):
  return data


def _ordered_dict(pairs=()):
  if pairs and not all(isinstance(k, str) for k, _ in pairs):
    raise Refusal("its pickle has a key that is neither text nor number")
  return dict(pairs)


def _encode(text, encoding):
  # How protocol 2 writes bytes.
  if encoding not in ("latin1", "latin-1"):
    raise Refusal(f"its pickle encodes text as {encoding}")
  return text.encode("latin1")


def _dtype(kind, *_):
  return Record(f"numpy {kind}")


def _scalar(dtype, value):
  known = isinstance(dtype, Record) and dtype.type in _SCALARS
  if not known or (dtype.state and dtype.state[1] == ">"):
    raise Refusal("its pickle holds a NumPy scalar of an unknown type")
  return np.frombuffer(value, _SCALARS[dtype.type], 1)[0]


_SCALARS = {
  f"numpy {kind}": np.dtype(f"<{kind}")
  for kind in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "b1")
}

# Plain data beside the tensors: options, counters, best scores.
PLAIN = {
  "collections.OrderedDict": _ordered_dict,
  "argparse.Namespace": types.SimpleNamespace,
  "_codecs.encode": _encode,
  "numpy.dtype": _dtype,
  "numpy.core.multiarray.scalar": _scalar,
  "numpy._core.multiarray.scalar": _scalar,
}

TENSORS = {
  "torch._utils._rebuild_tensor_v2": rebuild_tensor,
  "torch._utils._rebuild_parameter": _parameter,
  "torch._utils._rebuild_parameter_with_state": _parameter,
}

TORCH = PLAIN | TENSORS | dict.fromkeys(STORAGES)
