"""Fetches published weights on first use and verifies them on every use."""

import contextlib
import itertools
import logging
import pathlib
from collections.abc import Iterator

import filelock
import jax
import pooch
import requests

from get_jax.errors import UsageError
from get_jax.storage.cache import cache_directory
from get_jax.training.processes import process_group
from get_jax.weights import digests, hub, licences
from get_jax.weights.downloader import (
  RefusedError,
  ResumingDownloader,
  until_stopped,
)
from get_jax.weights.entry import Entry, File
from get_jax.weights.packaged import packaged_path
from get_jax.weights.registry import find

pooch.get_logger().setLevel(logging.WARNING)


def fetch(name: str, accept_licence: bool = False) -> pathlib.Path:
  """Returns the path of published weights; downloads what the cache lacks.

  A file that the user put into the cache is used as if it had been downloaded.

  Args:
    name: name of an entry.
    accept_licence: whether the user accepts a licence that excludes commercial
      use. Once accepted, it need not be accepted again.

  Returns:
    The file, or the folder of an entry of several files.

  Raises:
    UsageError: the name is unknown, the licence is not accepted, a file cannot
      be downloaded, or it differs from the published one or from its first use.
    Stopped: a stop signal was received; the bytes so far are kept.
  """
  entry = find(name)
  if entry.packaged:
    return packaged_path(entry)
  folder = directory() / entry.folder
  try:
    licences.check(entry, folder, accept_licence)
    for file in entry.files:
      path = folder / file.name
      if not path.is_file():
        with _locked(path, entry.name):
          if not path.is_file():  # no other process downloaded it meanwhile
            _download(entry, file, path)
      digests.verify(path, file.sha256)
  except OSError as error:
    raise UsageError(
      f"{error.filename or folder} cannot be written ({error.strerror}); "
      "expected a folder with enough space, see --cache_dir"
    ) from error
  return folder if entry.is_folder else folder / entry.files[0].name


def directory() -> pathlib.Path:
  """Returns the part of the cache with a folder of files for each entry."""
  return cache_directory() / "weights"


def is_cached(entry: Entry) -> bool:
  """Returns whether all files of an entry are on this machine."""
  if entry.packaged:
    return True
  folder = directory() / entry.folder
  return all((folder / file.name).is_file() for file in entry.files)


def _download(entry: Entry, file: File, path: pathlib.Path) -> None:
  """Downloads a file.

  Raises:
    UsageError: the file has no address, its server cannot be reached or does
      not give it, or it is not the published one.
    Stopped: a stop signal was received.
  """
  url, sha256 = file.url, ""
  headers: dict[str, str] = {}
  if not url:
    raise UsageError(
      f"{entry.name} can only be downloaded by hand: get it from {entry.page} "
      f"and save it as {path} (licence: {entry.licence.name})"
    )
  try:
    if url.startswith(hub.SCHEME):
      url, headers, sha256 = hub.resolve(url)
    part = path.with_name(f"{path.name}.part")
    silent = process_group() is not None and jax.process_index() != 0
    downloader = ResumingDownloader(part, path.name, headers, silent)
    pooch.retrieve(
      url, sha256 or None, path.name, path.parent, None, downloader
    )
  except (RefusedError, requests.RequestException, ConnectionError) as error:
    raise UsageError(
      f"{entry.name} cannot be fetched from {web_address(file)} "
      f"({_reason(error)}): download it elsewhere and save it as {path} "
      f"(licence: {entry.licence.name}, {entry.licence.url})"
    ) from error
  except ValueError as error:  # of pooch, which has deleted the file
    raise UsageError(
      f"the file that {url} sent for {entry.name} does not have the published "
      f"SHA-256 {sha256} and was deleted; expected the same file as published"
    ) from error


def web_address(file: File) -> str:
  """Returns the https:// address of a file; "" if it has none."""
  is_hub = file.url.startswith(hub.SCHEME)
  return hub.web_address(file.url) if is_hub else file.url


@contextlib.contextmanager
def _locked(path: pathlib.Path, name: str) -> Iterator[None]:
  """Context in which no other process downloads the file."""
  path.parent.mkdir(parents=True, exist_ok=True)
  lock = filelock.FileLock(path.with_name(f"{path.name}.lock"))
  description = f"waiting for the download of {name}"
  for _ in until_stopped(itertools.count(), description):
    try:
      lock.acquire(timeout=0.5)
      break
    except filelock.Timeout:
      continue
  try:
    yield
  finally:
    lock.release()


def _reason(error: Exception) -> str:
  """Returns a short reason; those of `requests` repeat the whole request."""
  if isinstance(error, requests.Timeout):
    return "the server does not answer"
  if isinstance(error, requests.ConnectionError):
    return "the server cannot be reached"
  if isinstance(error, requests.RequestException):
    return f"the connection is cut again and again: {type(error).__name__}"
  return str(error)
