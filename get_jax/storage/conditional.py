"""Objects in buckets that are replaced only if they are of a known version.

The version is the generation in Google Cloud Storage and the ETag in S3.
"""

import os
import urllib.parse
from typing import Any

from get_jax.storage.bucket_errors import explained
from get_jax.storage.buckets import filesystem
from get_jax.storage.paths import Path


def version_of(path: Path) -> str | None:
  """Returns the version of an object; None if there is none."""
  store = filesystem(os.fspath(path))
  store.invalidate_cache()
  try:
    info = store.info(os.fspath(path))
  except FileNotFoundError:
    return None
  return info.get("generation") or info.get("ETag")


def replace_if(path: Path, content: bytes, version: str | None) -> str | None:
  """Replaces an object if it is of a version.

  Args:
    path: the object.
    content: its new content.
    version: the expected version; None: the object must be absent.

  Returns:
    The new version; None if the object is of another version.
  """
  url = os.fspath(path)
  store = filesystem(url)
  bucket, _, key = store._strip_protocol(url).partition("/")
  with explained(url):
    try:
      if url.startswith("s3://"):
        condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
        return _s3(store, "put_object", bucket, key, Body=content, **condition)
      answer = store.call(
        "POST",
        f"{store._location}/upload/storage/v1/b/{bucket}/o",
        uploadType="media",
        name=key,
        ifGenerationMatch=version or "0",
        headers={"Content-Type": "application/octet-stream"},
        data=content,
        json_out=True,
      )
      return answer["generation"]
    except (FileExistsError, FileNotFoundError):
      return None


def delete_if(path: Path, version: str) -> None:
  """Deletes an object if it is of a version."""
  url = os.fspath(path)
  store = filesystem(url)
  bucket, _, key = store._strip_protocol(url).partition("/")
  with explained(url):
    try:
      if url.startswith("s3://"):
        _s3(store, "delete_object", bucket, key, IfMatch=version)
        return
      quoted = urllib.parse.quote(key, safe="")
      store.call("DELETE", f"b/{bucket}/o/{quoted}", ifGenerationMatch=version)
    except (FileExistsError, FileNotFoundError):
      pass


def _s3(
  store: Any, method: str, bucket: str, key: str, **arguments: Any
) -> str:
  from botocore.exceptions import ClientError

  try:
    answer = store.call_s3(method, Bucket=bucket, Key=key, **arguments)
  except ClientError as error:
    if error.response["Error"]["Code"] in ("PreconditionFailed", "412"):
      raise FileExistsError(key) from None
    raise
  return answer.get("ETag", "")
