"""Buckets: how fsspec opens them, and one sentence for each of their faults.

A request that fails with 408, 429 or 5xx, or whose connection breaks, is sent
again with exponential back-off (gcsfs, six times in half a minute). What still
fails, and what no repetition helps, becomes a `BucketError`.
"""

import functools
import importlib.util
import logging
import os
from typing import Any

import fsspec

from get_jax.errors import UsageError

# The package that fsspec needs for buckets of each scheme.
PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}


class BucketError(UsageError, OSError):
  """A bucket that cannot be used: absent, forbidden, or out of reach."""


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
  _configure()
  return fsspec.filesystem(scheme)


@functools.cache
def _configure() -> None:
  """Sets how fsspec opens buckets, here and in etils."""
  # A query for the type of each bucket over gRPC, which hangs for a minute
  # where gRPC is blocked. Only zonal buckets need it.
  os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
  for scheme in PACKAGES:
    # A cached listing hides what other processes write.
    settings = fsspec.config.conf.setdefault(scheme, {})
    settings["use_listings_cache"] = False
  # gcsfs logs a traceback for each error that it also raises.
  logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
