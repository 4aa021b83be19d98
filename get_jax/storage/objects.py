"""Objects in buckets: their versions, listings and byte ranges.

An object is replaced as a whole and never changes in place, so (URL, version)
identifies its bytes. This is what `get_jax.storage.cache` relies on.
"""

import dataclasses
import functools
import hashlib
from typing import Any

from get_jax.errors import UsageError
from get_jax.storage.buckets import filesystem

# Properties that change whenever an object is replaced, best first: the
# generation of Google Cloud Storage, the ETag of S3.
_VERSION_KEYS = ("generation", "ETag", "etag", "md5Hash", "mtime", "created")


@dataclasses.dataclass(frozen=True)
class RemoteObject:
  """One version of an object.

  Attributes:
    url: address, such as gs://bucket/data.zip.
    size: number of bytes.
    version: identifies the content of the object at this address.
  """

  url: str
  size: int
  version: str

  @functools.cached_property
  def key(self) -> str:
    """Identifies the bytes of the object, 32 hexadecimal digits."""
    text = f"{self.url}\n{self.version}\n{self.size}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]

  def read(self, start: int, stop: int) -> bytes:
    """Downloads the bytes from `start` to `stop` - 1.

    Raises:
      UsageError: the object was replaced or deleted since it was listed.
    """
    if start >= stop:
      return b""
    store, path = _open(self.url)
    pinned = {}
    if self.url.startswith("gs://") and self.version.isdigit():
      pinned = {"generation": self.version}
    try:
      content = store.cat_file(path, start=start, end=stop, **pinned)
    except FileNotFoundError:
      content = b""
    if len(content) != stop - start or not (pinned or self._is_current()):
      raise UsageError(
        f"{self.url} was replaced or deleted while it was read; expected data "
        "that does not change during a run"
      )
    return content

  def _is_current(self) -> bool:
    return find_object(self.url) == self


def find_object(url: str) -> RemoteObject | None:
  """Returns the current version of an object, or None if there is none."""
  store, path = _open(url)
  try:
    info = store.info(path)
  except FileNotFoundError:
    return None
  return _from_info(url, info) if info["type"] == "file" else None


def list_objects(url: str) -> dict[str, RemoteObject]:
  """Returns all objects below a folder, by name relative to it.

  A name that ends in "/" is a marker of an empty folder. The listing takes one
  request per thousand objects.

  Args:
    url: address of the folder.
  """
  store, path = _open(url)
  root = path.rstrip("/") + "/"
  found = store.find(root, detail=True)
  return {
    name.removeprefix(root): _from_info(f"{url.rstrip('/')}/{relative}", info)
    for name, info in sorted(found.items())
    if (relative := name.removeprefix(root))
  }


def glob_objects(pattern: str) -> dict[str, RemoteObject]:
  """Returns the objects whose addresses match a pattern with `*`, by address.

  Args:
    pattern: the pattern; `*` matches anything but "/".
  """
  store, path = _open(pattern)
  scheme = pattern.partition("://")[0]
  found = store.glob(path, detail=True)
  objects = {f"{scheme}://{n}": info for n, info in sorted(found.items())}
  return {
    url: _from_info(url, info)
    for url, info in objects.items()
    if info["type"] == "file"
  }


def _from_info(url: str, info: dict[str, Any]) -> RemoteObject:
  version = next((str(info[k]) for k in _VERSION_KEYS if info.get(k)), "")
  return RemoteObject(url, int(info["size"]), version)


def _open(url: str) -> tuple[Any, str]:
  found = filesystem(url)
  return found, found._strip_protocol(url)
