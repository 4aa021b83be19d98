"""Arrays on disk in shards, each whole and checked or not there at all.

A directory holds `manifest.json`, which says what the records are, and shards
of `shard_size` records: `00003.<array>.npy` and, written last, `00003.json`
with their SHA-256. A shard without its `.json` does not exist, so a writer may
be killed at any moment.
"""

import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import re
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from get_jax.errors import UsageError

MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Layout:
  """What a directory of shards holds; two equal ones hold the same.

  Attributes:
    format: kind and version, such as "get_jax pairs 1".
    count: records in all.
    shard_size: records per shard; the last may have fewer.
    arrays: type and shape of one record's arrays, by name.
    facts: how the records were made, as JSON holds it.
  """

  format: str
  count: int
  shard_size: int
  arrays: Mapping[str, tuple[str, tuple[int, ...]]]
  facts: Mapping[str, Any]

  @property
  def num_shards(self) -> int:
    """Number of shards."""
    return -(-self.count // self.shard_size)

  def shard_range(self, shard: int) -> range:
    """Indices of the records in a shard."""
    start = shard * self.shard_size
    return range(start, min(start + self.shard_size, self.count))

  def to_json(self) -> dict:
    """As the manifest holds it."""
    return json.loads(json.dumps(dataclasses.asdict(self)))

  @classmethod
  def read(cls, directory: str | pathlib.Path, kind: str = "get_jax"):
    """The layout in a directory's manifest.

    Args:
      directory: of the shards.
      kind: how its format must begin, such as "get_jax pairs".

    Raises:
      UsageError: there is none, or it is of another kind.
    """
    path = pathlib.Path(directory) / MANIFEST
    what = [*kind.split(), "shards"][1]
    try:
      found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
      raise UsageError(
        f"{directory} holds no {what}; expected {MANIFEST} in it"
      ) from None
    except (OSError, ValueError) as error:
      raise UsageError(f"{path} cannot be read: {error}") from error
    fields = {field.name for field in dataclasses.fields(cls)}
    if not isinstance(found, dict) or found.keys() != fields:
      raise UsageError(f"{path} is damaged or no manifest of {what}")
    if not found["format"].startswith(kind):
      raise UsageError(
        f"{path} is of the format {found['format']!r}; expected {kind!r}"
      )
    found["arrays"] = {
      name: (dtype, tuple(shape))
      for name, (dtype, shape) in found["arrays"].items()
    }
    return cls(**found)


def shard_files(layout: Layout, shard: int) -> dict[str, str]:
  """File names of a shard's arrays, by array."""
  return {name: f"{shard:05d}.{name}.npy" for name in layout.arrays}


class ShardWriter:
  """Writes the missing shards of a directory.

  Args:
    directory: of the shards.
    layout: what it is to hold.
    part: which of the processes that share the work this one is.

  Raises:
    UsageError: the directory holds something else.
  """

  def __init__(
    self, directory: str | pathlib.Path, layout: Layout, part: int = 0
  ):
    self.directory, self.layout = pathlib.Path(directory), layout
    self._part = part
    self._lock = None
    self.directory.mkdir(parents=True, exist_ok=True)
    path = self.directory / MANIFEST
    if path.exists():
      _refuse_other(self.directory, Layout.read(self.directory), layout)
    else:
      self._write(MANIFEST, json.dumps(layout.to_json(), indent=2).encode())

  def lock(self) -> None:
    """Keeps other writers out as long as this one lives.

    Raises:
      UsageError: another one is at work.
    """
    if self._lock is not None:
      return
    handle = os.open(
      self.directory / f"lock{self._part}", os.O_WRONLY | os.O_CREAT, 0o644
    )
    self._lock = weakref.finalize(self, os.close, handle)
    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      self._lock()
      self._lock = None
      raise UsageError(
        f"another process is writing to {self.directory}; expected to be "
        "alone there"
      ) from None

  def missing(self) -> list[int]:
    """Numbers of the shards that are not there yet, or not whole."""
    return [
      shard
      for shard in range(self.layout.num_shards)
      if next(_outer_faults(self.directory, self.layout, shard), None)
    ]

  def write(self, shard: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Stores a shard: at once, or not at all.

    Args:
      shard: its number.
      arrays: by name, (n, ...) each, n the records of this shard.

    Raises:
      ValueError: they are not what the layout says.
      UsageError: the disk is full or another process writes here.
    """
    self.lock()
    count, digests = len(self.layout.shard_range(shard)), {}
    for name, file_name in shard_files(self.layout, shard).items():
      dtype, shape = self.layout.arrays[name]
      array = np.ascontiguousarray(arrays[name])
      if array.shape != (count, *shape) or array.dtype != dtype:
        raise ValueError(
          f"{name} of shard {shard} is {array.dtype}{array.shape}, expected "
          f"{dtype}{(count, *shape)}"
        )
      digests[name] = self._write(file_name, array)
    record = {"shard": shard, "count": count, "sha256": digests}
    self._write(f"{shard:05d}.json", json.dumps(record).encode())

  def _write(self, name: str, content: np.ndarray | bytes) -> str:
    """Writes a file under another name and moves it; returns its SHA-256."""
    path = self.directory / name
    temporary = path.with_name(f"{name}.{self._part}.tmp")
    try:
      with temporary.open("wb") as file:
        if isinstance(content, bytes):
          file.write(content)
        else:
          # np.save would hide why a full disk refuses.
          header = np.lib.format.header_data_from_array_1_0(content)
          np.lib.format.write_array_header_1_0(file, header)
          file.write(content.reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())
      digest = _sha256(temporary)
      temporary.replace(path)
    except OSError as error:
      temporary.unlink(missing_ok=True)
      raise UsageError(
        f"{path} cannot be written ({error.strerror or error}); the shards "
        "that are complete are kept, and the same command goes on from there"
      ) from error
    return digest


class ShardReader:
  """Records by index from a directory of shards; files are memory-mapped.

  Args:
    directory: of the shards.
    kind: how the format must begin.
    remake: the command that makes what is missing, for messages.
    verify: reads every byte once and compares the checksums.

  Raises:
    UsageError: a shard is missing, incomplete, damaged or another's.
  """

  def __init__(
    self,
    directory: str | pathlib.Path,
    kind: str,
    remake: str,
    verify: bool = True,
  ):
    self.directory = pathlib.Path(directory)
    self.layout = Layout.read(directory, kind)
    self._open: dict[int, dict[str, np.ndarray]] = {}
    for fault in faults(self.directory, self.layout, verify):
      raise UsageError(f"{fault}; {remake}")

  def __getstate__(self):
    # Workers map the files anew; a pickled map would carry their contents.
    return self.__dict__ | {"_open": {}}

  def __len__(self) -> int:
    return self.layout.count

  def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays (n, ...) of the records at `indices` (n,)."""
    shards, rows = np.divmod(indices, self.layout.shard_size)
    records = {
      name: np.empty((len(indices), *shape), dtype)
      for name, (dtype, shape) in self.layout.arrays.items()
    }
    for shard in np.unique(shards):
      here = shards == shard
      for name, array in self._shard(int(shard)).items():
        records[name][here] = array[rows[here]]
    return records

  def column(self, name: str) -> np.ndarray:
    """The array `name` of all records, (count, ...)."""
    shards = range(self.layout.num_shards)
    return np.concatenate([self._shard(shard)[name] for shard in shards])

  def _shard(self, shard: int) -> dict[str, np.ndarray]:
    if shard not in self._open:
      self._open[shard] = {
        name: np.load(self.directory / file, mmap_mode="r", allow_pickle=False)
        for name, file in shard_files(self.layout, shard).items()
      }
    return self._open[shard]


def faults(
  directory: str | pathlib.Path, layout: Layout, verify: bool = True
) -> Iterator[str]:
  """What is wrong with a directory of shards, one sentence a fault.

  Args:
    directory: of the shards.
    layout: what it should hold.
    verify: compares checksums too; else existence, types and sizes alone.
  """
  directory = pathlib.Path(directory)
  for path in sorted(directory.glob("*.json")):
    number = re.fullmatch(r"(\d+)\.json", path.name)
    if number and int(number[1]) >= layout.num_shards:
      yield f"{path} is one shard too many; expected {layout.num_shards}"
  shards = range(layout.num_shards)
  # Megabytes take no time; a bar for them would only be noise.
  slow = verify and sum(f.stat().st_size for f in directory.glob("*.npy")) > (
    1 << 30
  )
  owners: dict[str, str] = {}
  for shard in tqdm(shards, f"checking {directory}", disable=not slow):
    found = list(_outer_faults(directory, layout, shard))
    yield from found
    if found:
      continue
    record = json.loads((directory / f"{shard:05d}.json").read_text("utf-8"))
    # Two shards may have equal labels, but not equal everything.
    whole = json.dumps(record["sha256"], sort_keys=True)
    if whole in owners:
      yield f"{directory}: shards {owners[whole]} and {shard:05d} are the same"
    owners[whole] = f"{shard:05d}"
    if verify:
      for name, file in shard_files(layout, shard).items():
        if _sha256(directory / file) != record["sha256"][name]:
          yield (
            f"{directory / file} is damaged: its SHA-256 is not the one in "
            f"{shard:05d}.json"
          )


def _outer_faults(
  directory: pathlib.Path, layout: Layout, shard: int
) -> Iterator[str]:
  """What can be seen without reading the records of a shard."""
  path = directory / f"{shard:05d}.json"
  try:
    record = json.loads(path.read_text("utf-8"))
    owner, digests = record["shard"], record["sha256"]
  except FileNotFoundError:
    yield f"{directory} lacks shard {shard} of {layout.num_shards}"
    return
  except (OSError, ValueError, LookupError, TypeError) as error:
    yield f"{path} is damaged ({error})"
    return
  if owner != shard:
    yield f"{path} is a copy of shard {owner}; expected shard {shard}"
    return
  count = len(layout.shard_range(shard))
  for name, file in shard_files(layout, shard).items():
    dtype, shape = layout.arrays[name]
    try:
      array = np.load(directory / file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
      yield f"{directory / file} cannot be read: {error}"
      continue
    size = array.offset + array.nbytes
    if array.shape != (count, *shape) or array.dtype != dtype:
      yield (
        f"{directory / file} holds {array.dtype}{array.shape}; expected "
        f"{dtype}{(count, *shape)}"
      )
    elif (directory / file).stat().st_size != size:
      yield f"{directory / file} is longer than its {size} bytes"
    elif name not in digests:
      yield f"{path} has no checksum of {file}"


def _refuse_other(directory, found: Layout, wanted: Layout) -> None:
  flat = [{**x.to_json(), **x.to_json()["facts"]} for x in (found, wanted)]
  keys = sorted((flat[0].keys() | flat[1].keys()) - {"facts"})
  differing = [k for k in keys if flat[0].get(k) != flat[1].get(k)]
  if differing:
    kind = wanted.format.split()[1]
    raise UsageError(
      f"{directory} holds {kind} made otherwise: "
      + ", ".join(
        f"{k} is {flat[0].get(k)!r}, expected {flat[1].get(k)!r}"
        for k in differing
      )
    )


def _sha256(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
