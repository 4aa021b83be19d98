"""Network snapshots of EDM: pickles that carry the source of their classes.

An object of such a file is stored as the text of the module that defines it,
the name of the class and the object's attributes; unpickling the usual way
executes the text. Here the text is passed over. Each tensor holds its storage
as a legacy `torch.save` stream inside the pickle, a pickle that Python would
again execute; it is read with a shorter list of names.
"""

import dataclasses
import io
from typing import Any

import numpy as np

from get_jax.interop.formats.safe_pickle import (
  Record,
  Refusal,
  Stream,
  read_pickle,
  shown,
)
from get_jax.interop.formats.torch_legacy import read_torch_legacy
from get_jax.interop.formats.torch_tensors import (
  PLAIN,
  STORAGES,
  TENSORS,
  Storage,
)

_NESTED_LIMIT = 1000
_MAX_MODULES = 10_000


@dataclasses.dataclass(frozen=True)
class Module:
  """A network as data.

  Attributes:
    name: class name, as `EDMPrecond`.
    options: keyword arguments of its constructor.
    tensors: parameters and buffers by their official names, in order.
  """

  name: str
  options: dict[str, Any]
  tensors: dict[str, np.ndarray]


def read_edm_pickle(data: memoryview, stream: Stream) -> dict[str, Any]:
  """Reads a snapshot; objects of the networks' classes become `Module`.

  Args:
    data: the whole file.
    stream: the same file, at its beginning.

  Returns:
    The dictionary of the file: `ema` and what else was saved beside it.

  Raises:
    Refusal: the file is no snapshot, or hostile.
  """
  snapshot = read_pickle(stream, _MEANINGS)
  if stream.tell() != len(data):
    raise Refusal("there are bytes after the end of its pickle")
  if not isinstance(snapshot, dict):
    raise Refusal("its pickle holds no dictionary, so it is no snapshot of EDM")
  return {key: _module(value) for key, value in snapshot.items()}


def _module(value: Any) -> Any:
  if not isinstance(value, Record) or not isinstance(value.state, dict):
    return value
  options = value.state.get("_init_kwargs", {})
  if not isinstance(options, dict):
    raise Refusal("its modules have options without names")
  return Module(value.type, options, _tensors(value))


def _tensors(module: Record) -> dict[str, np.ndarray]:
  """Parameters and buffers in the order of torch's `state_dict`."""
  tensors, pending, seen = {}, [("", module)], 0
  while pending:
    prefix, record = pending.pop()
    seen += 1
    if not isinstance(record, Record) or seen > _MAX_MODULES:
      raise Refusal(f"its module {shown(prefix)} is none, or contains itself")
    state = record.state
    passing = state.get("_non_persistent_buffers_set", ())
    own = state.get("_parameters", {}) | {
      k: v for k, v in state.get("_buffers", {}).items() if k not in passing
    }
    for name, value in own.items():
      if value is not None:
        if not isinstance(value, np.ndarray):
          raise Refusal(f"its parameter {shown(prefix + name)} is no tensor")
        tensors[prefix + name] = value
    children = state.get("_modules", {}).items()
    pending += [
      (f"{prefix}{name}.", child)
      for name, child in reversed(children)
      if child is not None
    ]
  return tensors


def _persistent_object(meta: Any) -> Record:
  match meta:
    case {
      "type": "class",
      "version": 6,
      "class_name": str(name),
      "state": state,
    }:
      return Record(name, state)
  raise Refusal(
    "its pickle holds an object that is not stored as version 6 of "
    "torch_utils.persistence does"
  )


def _storage_from_bytes(raw: Any) -> Storage:
  if not isinstance(raw, bytes):
    raise Refusal("its pickle holds a storage that is no bytes")
  storage = read_torch_legacy(
    memoryview(raw),
    io.BytesIO(raw),
    dict.fromkeys(STORAGES),
    _NESTED_LIMIT,
  )
  if not isinstance(storage, Storage):
    raise Refusal("its pickle holds a storage that is something else")
  return storage


_MEANINGS = (
  PLAIN
  | TENSORS
  | {
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
    "torch.storage._load_from_bytes": _storage_from_bytes,
    "torch.nn.modules.container.ModuleDict": lambda: Record("ModuleDict"),
    "dnnlib.util.EasyDict": dict,
  }
)
