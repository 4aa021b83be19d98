"""Paths on disk and in buckets, and the few differences between the two."""

import os

from etils import epath

from get_jax.errors import UsageError

Path = epath.Path
_BUCKETS = ("gs://", "s3://")


def is_remote(path: str | os.PathLike[str]) -> bool:
  """Returns whether a path is in a bucket."""
  return os.fspath(path).startswith(_BUCKETS)


def as_path(path: str | os.PathLike[str]) -> epath.Path:
  """Returns a path on disk, with "~" expanded, or in a bucket.

  Raises:
    UsageError: the path has another scheme than gs:// or s3://.
  """
  text = os.fspath(path)
  if "://" in text and not is_remote(text):
    raise UsageError(
      f"{text} has the scheme {text.split('://')[0]!r}; expected a path on "
      "disk, gs:// or s3://"
    )
  return epath.Path(text) if is_remote(text) else epath.Path(text).expanduser()
