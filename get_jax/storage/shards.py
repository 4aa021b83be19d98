"""Arrays on disk in shards that are written atomically and checksummed.

A directory holds `manifest.json`, which describes the records, and shards of
`shard_size` records each: the files `00003.<array>.npy` and, written last,
`00003.json` with their SHA-256. A shard without its `.json` file does not
exist, so a writer may be killed at any moment.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import re
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from get_jax.errors import UsageError, reason, shorten
from get_jax.storage.array_file import file_size, open_array
from get_jax.storage.containers import Container, open_container
from get_jax.storage.json_files import parse_json
from get_jax.storage.lease import Lease
from get_jax.storage.paths import Path, StrPath, as_path, write_bytes
from get_jax.storage.random_access import LocalFile

MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Layout:
  """Content of a directory of shards; equal layouts hold equal records.

  Attributes:
    format: type and version of the content, such as "get_jax pairs 1".
    count: number of records.
    shard_size: records per shard; the last shard may have fewer.
    arrays: dtype and shape of each array of a record, by name.
    facts: how the records were made; JSON values.
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
    """Returns the indices of the records in a shard."""
    start = shard * self.shard_size
    return range(start, min(start + self.shard_size, self.count))

  @property
  def fingerprint(self) -> str:
    """SHA-256 of the content of the manifest."""
    content = json.dumps(self.to_json(), sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()

  def to_json(self) -> dict[str, Any]:
    """Returns the content of the manifest."""
    return json.loads(json.dumps(dataclasses.asdict(self)))

  @classmethod
  def read(cls, directory: StrPath, format_prefix: str = "get_jax") -> Self:
    """Reads the layout from a directory's manifest.

    Args:
      directory: directory of the shards.
      format_prefix: expected start of the format, such as "get_jax pairs".

    Raises:
      UsageError: the manifest is missing or damaged, or its format is another.
    """
    path = as_path(directory) / MANIFEST
    content_name = [*format_prefix.split(), "shards"][1]
    try:
      manifest = parse_json(path.read_bytes())
    except FileNotFoundError:
      raise UsageError(
        f"{directory} holds no {content_name}; expected {MANIFEST} in it"
      ) from None
    except (OSError, ValueError) as error:
      raise UsageError(f"{path} cannot be read: {reason(error)}") from error
    damaged = f"{path} is damaged or is not a manifest of {content_name}"
    if not isinstance(manifest, dict) or "format" not in manifest:
      raise UsageError(damaged)
    # Other formats have other fields.
    if not str(manifest["format"]).startswith(format_prefix):
      raise UsageError(
        f"{path} is of the format {shorten(manifest['format'])}; expected "
        f"{format_prefix!r}"
      )
    if manifest.keys() != {field.name for field in dataclasses.fields(cls)}:
      raise UsageError(damaged)
    try:
      manifest["arrays"] = {
        _checked_name(name): (_checked_dtype(dtype), _checked_shape(shape))
        for name, (dtype, shape) in manifest["arrays"].items()
      }
      layout = cls(**manifest)
      _check_numbers(layout)
    except (ValueError, TypeError, AttributeError) as error:
      raise UsageError(f"{path} is damaged ({reason(error)})") from error
    return layout


@contextlib.contextmanager
def reading_manifest(directory: StrPath) -> Iterator[None]:
  """Context in which what a manifest lacks, or has wrong, is a sentence.

  Args:
    directory: directory of the shards.

  Raises:
    UsageError: the manifest is damaged.
  """
  try:
    yield
  except UsageError:
    raise
  except (LookupError, TypeError, ValueError, AttributeError) as error:
    raise UsageError(
      f"{as_path(directory) / MANIFEST} is damaged ({reason(error)})"
    ) from error


def read_fact(layout: Layout, name: str, *types: type) -> Any:
  """Returns a fact of a layout.

  Args:
    layout: the layout.
    name: name of the fact.
    *types: types that it may have.

  Raises:
    ValueError: the value is of another type.
    KeyError: the layout has no such fact.
  """
  value = layout.facts[name]
  if type(value) not in types:
    raise ValueError(f"{name} is {shorten(value)}")
  return value


def _checked_name(name: str) -> str:
  if not re.fullmatch(r"\w{1,64}", name):  # a part of the names of files
    raise ValueError(f"an array has the name {shorten(name)}")
  return name


def _checked_dtype(dtype: Any) -> str:
  if np.dtype(str(dtype)).hasobject:
    raise ValueError("an array holds objects")
  return dtype


def _checked_shape(shape: Any) -> tuple[int, ...]:
  if not all(type(size) is int and 0 <= size < 2**31 for size in shape):
    raise ValueError(f"an array has the shape {shorten(shape)}")
  return tuple(shape)


def _check_numbers(layout: Layout) -> None:
  """Raises a ValueError unless the sizes are those of a possible directory."""
  for name in ("count", "shard_size"):
    value = getattr(layout, name)
    if type(value) is not int or not 0 < value < 2**48:
      raise ValueError(f"{name} is {shorten(value)}")
  if not isinstance(layout.facts, dict):
    raise ValueError("facts is no object")


def shard_files(layout: Layout, shard: int) -> dict[str, str]:
  """Returns the file names of a shard's arrays, by array."""
  return {name: f"{shard:05d}.{name}.npy" for name in layout.arrays}


class ShardWriter:
  """Writes the missing shards of a directory; a context that locks it.

  Args:
    directory: directory of the shards; it is created if needed.
    layout: content of the directory.
    process_index: index of this process among those that write to the
      directory; each has its own lock and temporary files.

  Raises:
    UsageError: the directory holds other content.
  """

  def __init__(
    self, directory: StrPath, layout: Layout, process_index: int = 0
  ):
    self.directory, self.layout = as_path(directory), layout
    self._process_index = process_index
    self._lease: Lease | None = None
    path = self.directory / MANIFEST
    if path.exists():
      _check_layout(self.directory, Layout.read(self.directory), layout)
    else:
      self._write(MANIFEST, json.dumps(layout.to_json(), indent=2).encode())

  def __enter__(self) -> Self:
    self.lock()
    return self

  def __exit__(self, *_: object) -> None:
    self.unlock()

  def lock(self) -> None:
    """Locks the directory against other writers.

    The lock is released by `unlock`, or when this writer ceases to exist.

    Raises:
      UsageError: another writer holds the lock.
    """
    if self._lease is not None:
      return
    lease = Lease(
      self.directory / f"lock{self._process_index}",
      f"another process is writing to {self.directory}; expected to be alone "
      "there",
    )
    lease.acquire()
    self._lease = lease
    weakref.finalize(self, lease.release)

  def unlock(self) -> None:
    """Releases the lock; a directory is unlocked before it is removed."""
    if self._lease is not None:
      self._lease.release()
      self._lease = None

  def missing(self) -> list[int]:
    """Returns the numbers of the shards that are missing or incomplete."""
    container = open_container(self.directory)
    return [
      shard
      for shard in range(self.layout.num_shards)
      if next(file_faults(container, self.layout, shard), None)
    ]

  def write(self, shard: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a shard atomically.

    Args:
      shard: number of the shard.
      arrays: arrays (n, ...) by name, with n the records of this shard.

    Raises:
      ValueError: an array does not fit the layout.
      UsageError: the disk is full, or another process writes to the directory.
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
      digests[name] = self._write(file_name, _npy(array))
    record = {"shard": shard, "count": count, "sha256": digests}
    self._write(f"{shard:05d}.json", json.dumps(record).encode())

  def _write(self, name: str, content: bytes) -> str:
    """Writes a file atomically.

    Returns:
      The SHA-256 of the file.
    """
    path = self.directory / name
    try:
      write_bytes(path, content)
    except OSError as error:
      raise UsageError(
        f"{path} cannot be written ({error.strerror or error}); the shards "
        "that are complete are kept, and the same command continues from there"
      ) from error
    return hashlib.sha256(content).hexdigest()


def file_faults(
  container: Container, layout: Layout, shard: int
) -> Iterator[str]:
  """Yields the faults of a shard that show without reading its records.

  Args:
    container: directory of the shards.
    layout: expected content.
    shard: number of the shard.
  """
  path = f"{container.root}/{shard:05d}.json"
  try:
    record = parse_json(container.read(f"{shard:05d}.json"))
    owner, digests = record["shard"], dict(record["sha256"])
  except FileNotFoundError:
    yield f"{container.root} lacks shard {shard} of {layout.num_shards}"
    return
  except (OSError, ValueError, LookupError, TypeError) as error:
    yield f"{path} is damaged ({reason(error)})"
    return
  if owner != shard:
    yield f"{path} is a copy of shard {shorten(owner)}; expected shard {shard}"
    return
  count = len(layout.shard_range(shard))
  for name, file in shard_files(layout, shard).items():
    dtype, shape = layout.arrays[name]
    fault = _array_fault(container, file, np.dtype(dtype), (count, *shape))
    if fault:
      yield f"{container.root}/{file} {fault}"
    elif name not in digests:
      yield f"{path} has no checksum of {file}"


def _array_fault(
  container: Container, name: str, dtype: np.dtype, shape: tuple[int, ...]
) -> str:
  """Returns what is wrong with a file of one array, or ""."""
  expected = f"expected {dtype}{shape}"
  try:
    file = container.open(name)
    if isinstance(file, LocalFile):
      array = open_array(file)
      if array.shape != shape or array.dtype != dtype:
        return f"holds {array.dtype}{array.shape}; {expected}"
  except (OSError, ValueError, EOFError) as error:
    return f"cannot be read: {reason(error)}"
  if file.size != (size := file_size(dtype, shape)):
    word = "longer" if file.size > size else "shorter"
    return f"is {word} than its {size} bytes"
  return ""


def _check_layout(directory: Path, stored: Layout, expected: Layout) -> None:
  """Raises a UsageError that lists the differences of two layouts."""
  old, new = (
    {**layout, **layout["facts"]}
    for layout in (stored.to_json(), expected.to_json())
  )
  keys = sorted((old.keys() | new.keys()) - {"facts"})
  differing = [key for key in keys if old.get(key) != new.get(key)]
  if differing:
    content_name = expected.format.split()[1]
    raise UsageError(
      f"{directory} holds {content_name} made with other settings: "
      + ", ".join(
        f"{key} is {old.get(key)!r}, expected {new.get(key)!r}"
        for key in differing
      )
    )


def _npy(array: np.ndarray) -> bytes:
  """Returns the content of the .npy file of a contiguous array."""
  file = io.BytesIO()
  np.save(file, array, allow_pickle=False)
  return file.getvalue()
