"""Opens buckets with fsspec, here and in the libraries that use etils."""

import functools
import importlib.util
import logging
from typing import Any

from get_jax.errors import UsageError

# The package that fsspec needs for buckets of each scheme.
PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}


def filesystem(url: str) -> Any:
  """Returns the fsspec file system of a URL in a bucket.

  Args:
    url: such as "gs://bucket/folder".

  Raises:
    UsageError: the scheme needs a package that is not installed.
  """
  scheme = url.partition("://")[0]
  package = PACKAGES[scheme]
  if importlib.util.find_spec(package) is None:
    raise UsageError(
      f"{url} needs the package {package}; expected it to be installed: pip "
      f"install {package}"
    )
  import fsspec

  _configure()
  return fsspec.filesystem(scheme)


@functools.cache
def _configure() -> None:
  """Sets how fsspec opens buckets."""
  import fsspec

  for scheme in ("gs", "gcs"):
    fsspec.register_implementation(
      scheme, "get_jax.storage.google.GoogleBuckets", clobber=True
    )
  # Listings that are cached hide what other processes write.
  fsspec.config.conf.setdefault("s3", {})["use_listings_cache"] = False
  # gcsfs logs a traceback for each error that it also raises.
  logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
