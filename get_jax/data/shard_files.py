"""Finds the files of a data set that is split into shards."""

import glob
import os
import re

from get_jax.errors import UsageError
from get_jax.storage.files import Files
from get_jax.storage.objects import find_object, glob_objects
from get_jax.storage.paths import as_path, is_remote
from get_jax.storage.random_access import (
  CachedFile,
  LocalFile,
  RandomAccessFile,
)

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def find_shards(
  path: str | os.PathLike[str], split: str, pattern: str, kind: str
) -> list[RandomAccessFile]:
  """Returns the shards that a path names, sorted.

  Args:
    path: a shard; a folder of shards; or a pattern with `*` or `{000..012}`; on
      disk or in a bucket.
    split: a folder inside the folder.
    pattern: regular expression of the names of shards in a folder.
    kind: what they are, for the message.

  Raises:
    UsageError: there are none.
  """
  text = os.fspath(as_path(path))
  match = _RANGE.search(text)
  names = _expand(text, match) if match else None
  shards: list[RandomAccessFile]
  try:
    if names is None and _is_folder(text):
      files = Files(text, split)
      found = [name for name in files.names if re.search(pattern, name)]
      shards = [files.open(name) for name in found]
    elif is_remote(text):
      objects = glob_objects(text.replace(match[0], "*") if match else text)
      names = names or sorted(objects) or [text]
      shards = [CachedFile(objects[name]) for name in names]
    else:
      names = names or sorted(glob.glob(text)) or [text]
      shards = [LocalFile(name) for name in names]
  except (KeyError, OSError) as error:
    missing = error.filename if isinstance(error, OSError) else error.args[0]
    raise UsageError(f"{kind} {missing} does not exist") from None
  if not shards:
    raise UsageError(f"{os.path.join(text, split)} contains no {kind}")
  return shards


def _is_folder(path: str) -> bool:
  if not is_remote(path):
    return os.path.isdir(path)
  return not glob.has_magic(path) and find_object(path) is None


def _expand(text: str, match: re.Match[str]) -> list[str]:
  """Returns the names that a pattern with a range stands for."""
  first, last = match.groups()
  return [
    text.replace(match[0], str(number).zfill(len(first)))
    for number in range(int(first), int(last) + 1)
  ]
