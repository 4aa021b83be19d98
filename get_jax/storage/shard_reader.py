"""Reads records of shards by index, on disk and in buckets."""

import hashlib
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from get_jax.errors import UsageError
from get_jax.progress import ProgressBar
from get_jax.storage.array_file import Rows, open_array, prefetch_rows
from get_jax.storage.containers import Container, open_container
from get_jax.storage.json_files import parse_json
from get_jax.storage.shards import Layout, StrPath, file_faults, shard_files


class ShardReader:
  """Reads records by index from a directory of shards.

  Files on disk are memory-mapped. Those of a bucket are read through the cache.

  Args:
    directory: directory of the shards, on disk or in a bucket.
    format_prefix: expected start of the format.
    hint: how to make missing shards, for messages.
    verify: reads every byte once and compares the checksums.

  Raises:
    UsageError: a shard is missing, incomplete, damaged, or a copy of another.
  """

  def __init__(
    self,
    directory: StrPath,
    format_prefix: str,
    hint: str,
    verify: bool = True,
  ):
    self.layout = Layout.read(directory, format_prefix)
    self._container = open_container(directory)
    self.directory = self._container.root
    self._hint = hint
    self._open: dict[int, dict[str, Rows]] = {}
    for fault in _faults(self._container, self.layout, verify):
      raise UsageError(f"{fault}; {hint}")

  def __getstate__(self) -> dict[str, Any]:
    # A pickled memory map would hold its contents; workers map files anew.
    return self.__dict__ | {"_open": {}}

  def __len__(self) -> int:
    return self.layout.count

  def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the arrays (n, ...) of the records at `indices` (n,)."""
    shards, rows = np.divmod(indices, self.layout.shard_size)
    records = {
      name: np.empty((len(indices), *shape), dtype)
      for name, (dtype, shape) in self.layout.arrays.items()
    }
    numbers = np.unique(shards).tolist()
    for shard in numbers:
      for array in self._shard(shard).values():
        prefetch_rows(array, rows[shards == shard])
    for shard in numbers:
      in_shard = shards == shard
      for name, array in self._shard(shard).items():
        records[name][in_shard] = array[rows[in_shard]]
    return records

  def read_array(self, shard: int, name: str) -> np.ndarray:
    """Returns an array (n, ...) of a shard; the reader keeps nothing of it.

    Raises:
      UsageError: its checksum is wrong.
    """
    record = parse_json(self._container.read(f"{shard:05d}.json"))
    file = shard_files(self.layout, shard)[name]
    content = self._container.read(file)
    if hashlib.sha256(content).hexdigest() != record["sha256"][name]:
      raise UsageError(f"{_damaged(self.directory, file, shard)}; {self._hint}")
    return np.load(io.BytesIO(content), allow_pickle=False)

  def column(self, name: str) -> np.ndarray:
    """Returns the array `name` of all records, (count, ...)."""
    shards = range(self.layout.num_shards)
    arrays = [np.asarray(self._shard(shard)[name]) for shard in shards]
    return np.concatenate(arrays)

  def _shard(self, shard: int) -> dict[str, Rows]:
    if shard not in self._open:
      self._open[shard] = {
        name: open_array(self._container.open(file))
        for name, file in shard_files(self.layout, shard).items()
      }
    return self._open[shard]


def find_faults(
  directory: StrPath, layout: Layout, verify: bool = True
) -> Iterator[str]:
  """Yields one sentence per fault of a directory of shards.

  Args:
    directory: directory of the shards.
    layout: expected content.
    verify: compares checksums too; otherwise only existence, dtypes, shapes
      and sizes.
  """
  yield from _faults(open_container(directory), layout, verify)


def _faults(
  container: Container, layout: Layout, verify: bool
) -> Iterator[str]:
  """Yields the faults of a directory; see `find_faults`."""
  root = container.root
  names = sorted(name for name in container.walk() if "/" not in name)
  for name in names:
    number = re.fullmatch(r"(\d+)\.json", name)
    if number and int(number[1]) >= layout.num_shards:
      yield f"{root}/{name} is one shard too many; expected {layout.num_shards}"
  container.prefetch(name for name in names if name.endswith(".json"))
  # A few megabytes are checked too fast to need a progress bar.
  arrays = [name for name in names if verify and name.endswith(".npy")]
  slow = sum(container.open(name).size for name in arrays) > 1 << 30
  owners: dict[str, str] = {}
  shards = range(layout.num_shards)
  for shard in ProgressBar(shards, f"checking {root}", disable=not slow):
    faults = list(file_faults(container, layout, shard))
    yield from faults
    if faults:
      continue
    record = parse_json(container.read(f"{shard:05d}.json"))
    # Two shards may have equal labels, but not all arrays equal.
    digests = json.dumps(record["sha256"], sort_keys=True)
    if digests in owners:
      first = owners[digests]
      yield f"{root}: shards {first} and {shard:05d} are the same"
    owners[digests] = f"{shard:05d}"
    if verify:
      for name, file in shard_files(layout, shard).items():
        with container.open(file).open() as opened:
          digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if digest != record["sha256"][name]:
          yield _damaged(root, file, shard)


def _damaged(root: str, file: str, shard: int) -> str:
  return (
    f"{root}/{file} is damaged: its SHA-256 is not the one in {shard:05d}.json"
  )
