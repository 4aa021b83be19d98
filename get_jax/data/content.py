"""Identifies the content of a data source, wherever it is stored.

A data set that is moved, zipped or copied to a bucket stays the same.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from get_jax.data.sources import Source


@runtime_checkable
class Movable(Protocol):
  """A source whose fingerprint depends on where it is stored."""

  def content_digest(self) -> str:
    """Returns a SHA-256 that does not depend on the location."""


def describe_content(source: Source) -> dict[str, Any]:
  """Returns what identifies the records of a source, JSON-serializable.

  Args:
    source: the data. Image files are identified by their names, their labels
      and the bytes of a sample of them; stored latents and pairs by their
      manifest, which has the settings that they were made with.

  Returns:
    "records" (their number), "image_shape", "num_classes" and "content", a
    SHA-256.
  """
  if isinstance(source, Movable):
    digest = source.content_digest()
  else:
    digest = hashlib.sha256(source.fingerprint.encode()).hexdigest()
  return {
    "records": len(source),
    "image_shape": list(source.image_shape),
    "num_classes": source.num_classes,
    "content": digest,
  }


def differences(
  before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
  """Returns the entries of two descriptions that differ: (before, now)."""
  return {
    name: (before.get(name), now.get(name))
    for name in sorted(before.keys() | now.keys())
    if before.get(name) != now.get(name)
  }
