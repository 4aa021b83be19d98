"""Addresses and hashes of files on the Hugging Face Hub.

`HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` have their usual meaning.
"""

from typing import NamedTuple

import huggingface_hub
from huggingface_hub.errors import (
  GatedRepoError,
  HfHubHTTPError,
  OfflineModeIsEnabled,
)
from huggingface_hub.utils import build_hf_headers

from get_jax.weights.downloader import RefusedError

SCHEME = "hf://"
_SHA256_DIGITS = 64


class HubFile(NamedTuple):
  """A file of the Hub.

  Attributes:
    url: its address.
    headers: headers of the request, with the user's token if there is one.
    sha256: its SHA-256; "" for a small file, of which the Hub publishes none.
  """

  url: str
  headers: dict[str, str]
  sha256: str


def web_address(url: str) -> str:
  """Returns the https:// address of hf://OWNER/REPOSITORY/PATH."""
  owner, repository, path = url.removeprefix(SCHEME).split("/", 2)
  return huggingface_hub.hf_hub_url(f"{owner}/{repository}", path)


def resolve(url: str) -> HubFile:
  """Asks the Hub for the SHA-256 of a file.

  Args:
    url: hf://OWNER/REPOSITORY/PATH.

  Raises:
    RefusedError: the Hub does not give the file to this user.
    OSError: the Hub cannot be reached.
  """
  address = web_address(url)
  try:
    metadata = huggingface_hub.get_hf_file_metadata(address)
  except OfflineModeIsEnabled:
    raise RefusedError("HF_HUB_OFFLINE is set") from None
  except GatedRepoError:
    raise RefusedError(
      "its page asks to accept terms first; log in there and set HF_TOKEN"
    ) from None
  except HfHubHTTPError as error:
    status = error.response.status_code
    raise RefusedError(f"HTTP status {status}") from error
  except OSError:
    raise
  except Exception as error:  # The HTTP client's own errors of connections.
    raise ConnectionError(f"{type(error).__name__}: {error}") from error
  etag = metadata.etag or ""
  return HubFile(
    address,
    build_hf_headers(),
    etag if len(etag) == _SHA256_DIGITS else "",
  )
