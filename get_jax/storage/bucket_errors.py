"""One sentence for each fault of a bucket."""

import contextlib
import re
from collections.abc import Iterator

from get_jax.errors import UsageError


class BucketError(UsageError):
  """A bucket that cannot be used: absent, forbidden or out of reach.

  It is no OSError, because libraries take an OSError for a file that is absent.
  """


_EXISTING = "expected an existing bucket"
# Modules of the exceptions of libraries that access buckets.
_LIBRARIES = (
  "aiohttp", "boto", "google", "gcsfs", "requests", "urllib3"
)  # fmt: skip
# What the messages of those exceptions contain, and tensorstore's.
_FORBIDDEN = re.compile(r"\b403\b|forbidden|permission_?\s?denied", re.I)
_CREDENTIALS = re.compile(
  r"\b401\b|unauthenticated|invalid credentials|could not refresh|"
  r"credentials were not found|unauthorized|reauthentication",
  re.I,
)
_ABSENT = re.compile(r"bucket.{0,40}(not exist|not found)|NoSuchBucket", re.I)
_UNREACHABLE = re.compile(
  r"\b(408|429|50[0-4])\b|unavailable|deadline_?\s?exceeded|aborted:", re.I
)


@contextlib.contextmanager
def explained(url: str) -> Iterator[None]:
  """Context that turns the exceptions of libraries into `BucketError`.

  Args:
    url: URL in the bucket. Exceptions about paths on disk pass unchanged.

  Raises:
    BucketError: the bucket cannot be used; the message names it.
  """
  try:
    yield
  except (UsageError, FileNotFoundError, FileExistsError):
    raise
  except Exception as error:
    sentence = explain(error, url)
    if sentence is None:
      raise
    raise BucketError(sentence) from error


@contextlib.contextmanager
def explained_write(url: str) -> Iterator[None]:
  """Context of `explained` in which only the bucket itself can be absent."""
  with explained(url):
    try:
      yield
    except FileNotFoundError as error:
      raise BucketError(f"{_name(url)} does not exist; {_EXISTING}") from error


def _name(url: str) -> str:
  scheme, _, rest = url.partition("://")
  return f"bucket {scheme}://{rest.partition('/')[0]}"


def explain(error: BaseException, url: str) -> str | None:
  """Returns the sentence for an exception; None if no bucket is at fault.

  Args:
    error: what a library raised when it accessed the bucket.
    url: URL in the bucket; if it is a path on disk, the result is None.
  """
  if "://" not in url:
    return None
  bucket = _name(url)
  code = getattr(error, "code", None)
  text = " ".join(f"{type(error).__name__} {error} {code or ''}".split())
  detail = text if len(text) < 300 else f"{text[:300]}..."
  if _ABSENT.search(text):
    return f"{bucket} does not exist; {_EXISTING}"
  if _CREDENTIALS.search(text):
    return (
      f"{bucket} refuses the credentials, which are absent, expired or invalid "
      f"({detail}); expected valid ones, as of: gcloud auth "
      "application-default login"
    )
  if _FORBIDDEN.search(text):
    return (
      f"{bucket} is not accessible to this account ({detail}); expected the "
      "role Storage Object User (roles/storage.objectUser)"
    )
  if type(error).__name__ == "ChecksumError":
    return (
      f"{url} was damaged on its way ({error}); expected the checksum of what "
      "was sent"
    )
  library = type(error).__module__.partition(".")[0]
  network = isinstance(error, ConnectionError | TimeoutError)
  if network or library in _LIBRARIES or _UNREACHABLE.search(text):
    return (
      f"{bucket} cannot be reached ({detail}); the request was repeated in "
      "vain, and the same command continues when it answers again"
    )
  return None
