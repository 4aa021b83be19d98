"""Reads network snapshots of EDM, pickles that contain Python source code.

Such a file stores an object as the source code of the module that defines its
class, the name of the class, and the attributes. Unpickling it with `pickle`
executes the source code; here it is ignored. Each tensor's storage is a legacy
`torch.save` stream inside the pickle, which contains pickles that `pickle`
would also execute. They are read with a shorter list of allowed names.
"""

import dataclasses
import io
from typing import Any

import numpy as np

from get_jax.interop.formats.safe_pickle import (
  AllowedGlobals,
  OpaqueObject,
  RejectedFileError,
  Stream,
  quote,
  read_pickle,
)
from get_jax.interop.formats.torch_legacy import read_torch_legacy
from get_jax.interop.formats.torch_tensors import (
  PLAIN_GLOBALS,
  STORAGE_GLOBALS,
  TENSOR_GLOBALS,
  Storage,
)

_MAX_NESTED_OPCODES = 1000
_MAX_MODULES = 10_000


@dataclasses.dataclass(frozen=True)
class ModuleState:
  """A network of a snapshot, as data.

  Attributes:
    class_name: name of its class, such as `EDMPrecond`.
    init_kwargs: keyword arguments of its constructor.
    tensors: parameters and buffers by their official names, in order.
  """

  class_name: str
  init_kwargs: dict[str, Any]
  tensors: dict[str, np.ndarray]


def read_edm_pickle(data: memoryview, stream: Stream) -> dict[str, Any]:
  """Reads a snapshot; networks are returned as `ModuleState`.

  Args:
    data: the whole file.
    stream: the same file, at its beginning.

  Returns:
    The dictionary of the file: `ema` and the other saved entries.

  Raises:
    RejectedFileError: the file is not a snapshot, or is unsafe.
  """
  snapshot = read_pickle(stream, _ALLOWED_GLOBALS)
  if stream.tell() != len(data):
    raise RejectedFileError("there are bytes after the end of its pickle")
  if not isinstance(snapshot, dict):
    raise RejectedFileError(
      "its pickle does not hold a dictionary, so it is not a snapshot of EDM"
    )
  return {key: _to_module_state(value) for key, value in snapshot.items()}


def _to_module_state(value: Any) -> Any:
  if not isinstance(value, OpaqueObject) or not isinstance(value.state, dict):
    return value
  init_kwargs = value.state.get("_init_kwargs", {})
  if not isinstance(init_kwargs, dict):
    raise RejectedFileError(
      "its modules have constructor arguments without names"
    )
  return ModuleState(value.class_name, init_kwargs, _tensors(value))


def _tensors(module: OpaqueObject) -> dict[str, np.ndarray]:
  """Returns parameters and buffers, in the order of PyTorch's `state_dict`."""
  tensors: dict[str, np.ndarray] = {}
  pending: list[tuple[str, Any]] = [("", module)]
  count = 0
  while pending:
    prefix, current = pending.pop()
    count += 1
    if not isinstance(current, OpaqueObject) or count > _MAX_MODULES:
      raise RejectedFileError(
        f"its module {quote(prefix)} is not a module, or contains itself"
      )
    state = current.state
    skipped = state.get("_non_persistent_buffers_set", ())
    own = state.get("_parameters", {}) | {
      k: v for k, v in state.get("_buffers", {}).items() if k not in skipped
    }
    for name, value in own.items():
      if value is not None:
        if not isinstance(value, np.ndarray):
          raise RejectedFileError(
            f"its parameter {quote(prefix + name)} is not a tensor"
          )
        tensors[prefix + name] = value
    children = state.get("_modules", {}).items()
    pending += [
      (f"{prefix}{name}.", child)
      for name, child in reversed(children)
      if child is not None
    ]
  return tensors


def _persistent_object(meta: Any) -> OpaqueObject:
  match meta:
    case {
      "type": "class",
      "version": 6,
      "class_name": str(name),
      "state": state,
    }:
      return OpaqueObject(name, state)
  raise RejectedFileError(
    "its pickle holds an object that is not in the format of "
    "torch_utils.persistence, version 6"
  )


def _storage_from_bytes(raw: Any) -> Storage:
  if not isinstance(raw, bytes):
    raise RejectedFileError("its pickle holds a storage that is not bytes")
  storage = read_torch_legacy(
    memoryview(raw),
    io.BytesIO(raw),
    STORAGE_GLOBALS,
    _MAX_NESTED_OPCODES,
  )
  if not isinstance(storage, Storage):
    raise RejectedFileError("its pickle holds an object that is not a storage")
  return storage


_ALLOWED_GLOBALS: AllowedGlobals = {
  **PLAIN_GLOBALS,
  **TENSOR_GLOBALS,
  "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
  "torch.storage._load_from_bytes": _storage_from_bytes,
  "torch.nn.modules.container.ModuleDict": lambda: OpaqueObject("ModuleDict"),
  "dnnlib.util.EasyDict": dict,
}
