"""gcsfs with timeouts, checksums and one sentence for each fault."""

import os
import re
from contextlib import nullcontext
from typing import Any

import aiohttp
from fsspec.asyn import sync_wrapper
from gcsfs.core import GCSFileSystem

from get_jax.storage.bucket_errors import explained, explained_write

# Seconds without a connection or without a byte until a request is repeated.
CONNECT_TIMEOUT, READ_TIMEOUT = 20.0, 60.0


class GoogleBuckets(GCSFileSystem):
  """The file system of gs:// that fsspec and etils use here.

  gcsfs repeats requests that fail with 408, 429 or 5xx, or whose connection
  breaks, with exponential back-off: six times in half a minute. Without
  credentials it uses the server of STORAGE_EMULATOR_HOST, if that is set.
  """

  def __init__(self, *args: Any, **kwargs: Any):
    timeout = aiohttp.ClientTimeout(
      total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT
    )
    session = {"timeout": timeout, **(kwargs.pop("session_kwargs", None) or {})}
    # Listings that are cached hide what other processes write.
    options = {"consistency": "md5", **kwargs, "use_listings_cache": False}
    if "STORAGE_EMULATOR_HOST" in os.environ:
      options.setdefault("token", "anon")
    super().__init__(*args, session_kwargs=session, **options)

  async def _request(
    self, method: str, path: str, *args: Any, **kwargs: Any
  ) -> Any:
    url = self._format_path(path, args)
    bucket = re.search(r"/b/([^/?]+)", url)
    name = bucket[1] if bucket else ""
    with explained(f"gs://{name}"):
      # In an upload or a listing, only the bucket itself can be absent.
      whole = "/upload/" in url or url.endswith("/o")
      with explained_write(f"gs://{name}") if whole else nullcontext():
        return await super()._request(method, path, *args, **kwargs)

  async def _pipe_file(self, path: str, *args: Any, **kwargs: Any) -> Any:
    # Compares the checksum of what was stored.
    with explained(f"gs://{self._strip_protocol(path)}"):
      return await super()._pipe_file(path, *args, **kwargs)

  async def _get_file(self, rpath: str, *args: Any, **kwargs: Any) -> Any:
    with explained(f"gs://{self._strip_protocol(rpath)}"):
      return await super()._get_file(rpath, *args, **kwargs)

  async def _info(
    self, path: str, generation: str | None = None, **kwargs: Any
  ) -> dict[str, Any]:
    bucket = self._strip_protocol(path).strip("/")
    if "/" in bucket:
      return await super()._info(path, generation, **kwargs)
    # Not every account that may list objects may read the bucket's metadata.
    await self._list_objects(bucket, max_results=1)
    return {"bucket": bucket, "name": bucket, "size": 0, "type": "directory"}

  async def _rmdir(self, path: str) -> None:
    """Lists the bucket; gcsfs would delete it.

    etils calls this after a file could not be removed.
    """
    await self._list_objects(self._strip_protocol(path), max_results=1)

  rmdir = sync_wrapper(_rmdir)
