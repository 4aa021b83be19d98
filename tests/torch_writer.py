"""Writes files in the formats of `torch.save` and EDM, without PyTorch.

Placeholders for global names and tensors are pickled like the originals. Unsafe
variants in the tests change one thing each.
"""

import dataclasses
import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np

STORAGES = {
  "float64": "DoubleStorage",
  "float32": "FloatStorage",
  "float16": "HalfStorage",
  "bfloat16": "BFloat16Storage",
  "int64": "LongStorage",
  "int32": "IntStorage",
  "uint8": "ByteStorage",
  "bool": "BoolStorage",
}


@dataclasses.dataclass(frozen=True)
class Name:
  """A global name, pickled without being imported."""

  module: str
  name: str

  def __call__(self):
    raise AssertionError("a placeholder is never called")


@dataclasses.dataclass(frozen=True)
class Call:
  """An object that is pickled as name(*arguments), with an optional state."""

  name: Any
  arguments: tuple = ()
  state: Any = None

  def __reduce__(self):
    return (self.name, self.arguments, self.state)[: 2 + bool(self.state)]


@dataclasses.dataclass(eq=False)
class Stored:
  """A storage of PyTorch; `count` is the number of elements in the file."""

  array: np.ndarray
  key: str = ""
  count: int | None = None

  def identifier(self) -> tuple:
    kind = Name("torch", STORAGES[self.array.dtype.name])
    count = self.array.size if self.count is None else self.count
    return ("storage", kind, self.key, "cpu", count)


def tensor(array, size=None, stride=None, offset=0, storage=None) -> Call:
  """Returns what PyTorch pickles for a tensor, with any shape and strides."""
  array = np.asarray(array)
  if storage is None:
    storage = Stored(np.ravel(array))
  size = array.shape if size is None else size
  if stride is None:
    # Row-major, in elements, as in PyTorch.
    stride = tuple(int(np.prod(size[i + 1 :])) for i in range(len(size)))
  arguments = (storage, offset, size, stride, False, Call(ORDERED))
  return Call(Name("torch._utils", "_rebuild_tensor_v2"), arguments)


ORDERED = Name("collections", "OrderedDict")


class Pickler(pickle._Pickler):
  """Pickles the placeholders and collects storages in `storages`."""

  dispatch = dict(pickle._Pickler.dispatch)

  def __init__(self, file, protocol=2, legacy=False):
    super().__init__(file, protocol)
    self.legacy = legacy
    self.storages: list[Stored] = []

  def persistent_id(self, obj):
    if not isinstance(obj, Stored):
      return None
    if obj not in self.storages:
      obj.key = obj.key or str(len(self.storages))
      self.storages.append(obj)
    return obj.identifier() + ((None,) if self.legacy else ())

  def save_name(self, obj):
    if self.proto >= 4:
      self.save(obj.module)
      self.save(obj.name)
      self.write(pickle.STACK_GLOBAL)
    else:
      self.write(f"c{obj.module}\n{obj.name}\n".encode())
    self.memoize(obj)

  dispatch[Name] = save_name


def pickled(obj, protocol=2, legacy=False) -> tuple[bytes, list[Stored]]:
  """Returns a pickle and the storages that it refers to."""
  file = io.BytesIO()
  pickler = Pickler(file, protocol, legacy)
  pickler.dump(obj)
  return file.getvalue(), pickler.storages


def save_zip(path, obj, root="archive", compression=zipfile.ZIP_STORED):
  """Writes `obj` in the format of PyTorch 1.6 and later."""
  data, storages = pickled(obj)
  with zipfile.ZipFile(path, "w", compression) as archive:
    archive.writestr(f"{root}/data.pkl", data)
    archive.writestr(f"{root}/byteorder", "little")
    for storage in storages:
      member = f"{root}/data/{storage.key}"
      archive.writestr(member, storage.array.tobytes())
    archive.writestr(f"{root}/version", "3\n")


def legacy_bytes(obj) -> bytes:
  """Returns `obj` in the format of PyTorch before 1.6."""
  data, storages = pickled(obj, legacy=True)
  system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
  parts = [pickled(part)[0] for part in (0x1950A86A20F9469CFC6C, 1001, system)]
  parts += [data, pickled([storage.key for storage in storages])[0]]
  for storage in storages:
    count = storage.identifier()[4]
    parts += [struct.pack("<q", count), storage.array.tobytes()]
  return b"".join(parts)


def edm_tensor(array) -> Call:
  """Returns a tensor of a snapshot, whose storage is a nested legacy stream."""
  raw = legacy_bytes(Stored(np.ravel(np.asarray(array))))
  return tensor(array, storage=Call(LOAD_FROM_BYTES, (raw,)))


LOAD_FROM_BYTES = Name("torch.storage", "_load_from_bytes")


def edm_module(
  class_name, tensors=(), children=(), source="", **options
) -> Call:
  """Returns a network of EDM as `torch_utils.persistence` pickles it."""
  state = {
    "_parameters": {k: edm_tensor(v) for k, v in dict(tensors).items()},
    "_buffers": {},
    "_modules": dict(children),
    "_init_args": (),
    "_init_kwargs": options,
  }
  meta = {
    "type": "class",
    "version": 6,
    "module_src": source,
    "class_name": class_name,
    "state": state,
  }
  name = Name("torch_utils.persistence", "_reconstruct_persistent_obj")
  return Call(name, (meta,))
