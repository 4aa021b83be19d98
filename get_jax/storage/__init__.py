"""Files on disk: folders and zips, checksummed shards, atomic JSON."""

from get_jax.storage.files import Files
from get_jax.storage.json_files import write_json
from get_jax.storage.shard_reader import ShardReader, find_faults
from get_jax.storage.shards import Layout, ShardWriter

__all__ = [
  "Files",
  "Layout",
  "ShardReader",
  "ShardWriter",
  "find_faults",
  "write_json",
]
