"""A downloader for `pooch` that resumes what a cut connection left behind."""

import json
import os
import pathlib
import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import requests

from get_jax.errors import UsageError
from get_jax.progress import ProgressBar
from get_jax.storage.json_files import read_json_object
from get_jax.training.preemption import interruptible
from get_jax.weights.web_form import form_address

T = TypeVar("T")

CHUNK_SIZE = 1 << 16  # bytes; those of a chunk that is cut are lost
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5  # without a new byte
BACKOFF = 1.0  # seconds before the second try; doubles with each further one
RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)
_PRINTABLE = re.compile(r"[ -~]*")  # what a header may have
_INTERRUPTED = (
  requests.ConnectionError,
  requests.Timeout,
  requests.exceptions.ChunkedEncodingError,
)


class RefusedError(Exception):
  """The server does not give the file; trying again does not help."""


class _TryAgainError(Exception):
  """The transfer is to be continued."""


class ResumingDownloader:
  """Downloads a file over HTTP, and continues where an earlier try ended.

  The bytes are collected in `<part>`, which stays if the process is killed. The
  rest is requested with the validator (ETag or date) that the server gave for
  the first bytes, so parts of two versions of a file are never joined. From a
  server without validators or without ranges, the file is fetched from its
  beginning. A page with a download form instead of the file, as Google Drive
  has for large files, is followed.

  Args:
    part: file that collects the bytes.
    description: name for the progress bar.
    headers: headers of every request.
    silent: whether to show no progress bar.
  """

  def __init__(
    self,
    part: pathlib.Path,
    description: str,
    headers: Mapping[str, str] | None = None,
    silent: bool = False,
  ):
    self._part = part
    self._source = part.with_name(f"{part.name}.json")
    self._description = description
    self._headers = {"Accept-Encoding": "identity", **(headers or {})}
    self._silent = silent
    self._reached = False

  def __call__(self, url: str, output_file: str, pooch: Any = None) -> None:
    """Writes the file at `url` to `output_file`, as `pooch` calls it.

    Raises:
      RefusedError: the server does not give the file.
      requests.RequestException: the server cannot be reached, or the connection
        was cut several times without a new byte.
      Stopped: a stop signal was received; the bytes so far are kept.
    """
    del pooch
    with requests.Session() as session:
      failures = 0
      while True:
        size = self._size()
        try:
          self._transfer(session, url)
          break
        except (_TryAgainError, *_INTERRUPTED) as error:
          failures = 1 if self._size() > size else failures + 1
          if failures == ATTEMPTS or not self._reached:
            raise _final(error) from None
          time.sleep(BACKOFF * 2 ** (failures - 1))
    os.replace(self._part, output_file)
    self._source.unlink(missing_ok=True)

  def _size(self) -> int:
    return self._part.stat().st_size if self._part.exists() else 0

  def _transfer(self, session: requests.Session, url: str) -> None:
    """Requests the bytes that are missing and appends them.

    Raises:
      _TryAgainError: not all of them arrived.
      RefusedError: the server does not give the file.
    """
    validator = self.validator(url)
    start = self._size() if validator else 0
    headers = dict(self._headers)
    if start:
      headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    address = url
    for _ in range(2):  # of the file, or of a page with a form and of the file
      with session.get(
        address, headers=headers, stream=True, timeout=TIMEOUT
      ) as response:
        self._reached = True
        if self._is_complete(response, start):
          return
        self._check_status(response)
        if not _is_page(response):
          self._receive(response, url, start)
          return
        address = form_address(response.text, response.url) or ""
      if not address:
        break
    raise RefusedError("a web page instead of the file")

  def _is_complete(self, response: requests.Response, start: int) -> bool:
    """Whether the server has no bytes after those so far."""
    total = response.headers.get("Content-Range", "").removeprefix("bytes */")
    return response.status_code == 416 and total == str(start)

  def _check_status(self, response: requests.Response) -> None:
    status = response.status_code
    text = f"HTTP status {status} {response.reason}"
    if status == 416:  # more bytes than the file has: start over
      self._forget()
    if status == 416 or status in RETRIED_STATUS:
      raise _TryAgainError(text)
    if status not in (200, 206):
      raise RefusedError(text)

  def _receive(self, response: requests.Response, url: str, start: int) -> None:
    if response.status_code == 206:
      first, total = _content_range(response)
      if first != start:
        self._forget()
        raise _TryAgainError("the server sent another range")
    else:
      start, total = 0, _content_length(response)
      self._forget()
      self._remember(url, response)
    with (
      ProgressBar(
        desc=self._description,
        total=total,
        initial=start,
        unit="byte",
        unit_scale=True,
        disable=self._silent,
      ) as bar,
      self._part.open("ab" if start else "wb") as file,
    ):
      for chunk in until_stopped(
        response.iter_content(CHUNK_SIZE), f"fetching {self._description}"
      ):
        file.write(chunk)
        bar.update(len(chunk))
    if total is not None and self._size() != total:
      raise _TryAgainError(f"{self._size()} of {total} bytes arrived")

  def validator(self, url: str) -> str:
    """Returns the validator of the bytes so far; "" if there is none."""
    try:
      source = read_json_object(self._source, "a validator")
    except (FileNotFoundError, UsageError):
      return ""
    validator = source.get("validator")
    is_valid = isinstance(validator, str) and _PRINTABLE.fullmatch(validator)
    return str(validator) if is_valid and source.get("url") == url else ""

  def _remember(self, url: str, response: requests.Response) -> None:
    etag = response.headers.get("ETag", "")
    if etag.startswith("W/"):  # does not identify bytes
      etag = ""
    validator = etag or response.headers.get("Last-Modified", "")
    source = {"url": url, "validator": validator}
    self._source.write_text(json.dumps(source), "utf-8")

  def _forget(self) -> None:
    self._part.unlink(missing_ok=True)
    self._source.unlink(missing_ok=True)


def _final(error: Exception) -> Exception:
  """Returns the error with which the last try ends the download."""
  if isinstance(error, _TryAgainError):
    return RefusedError(str(error))
  return error


def until_stopped(items: Iterator[T], description: str) -> Iterator[T]:
  """Yields the items, and checks for stop signals in the main thread.

  Other threads receive no signals.

  Args:
    items: the items.
    description: what is done with them.

  Raises:
    Stopped: a stop signal was received.
  """
  if threading.current_thread() is threading.main_thread():
    return interruptible(items, description)
  return items


def _is_page(response: requests.Response) -> bool:
  return response.headers.get("Content-Type", "").startswith("text/html")


def _content_length(response: requests.Response) -> int | None:
  length = response.headers.get("Content-Length", "")
  return int(length) if length.isdigit() else None


def _content_range(response: requests.Response) -> tuple[int, int | None]:
  """Returns first byte and total size of a partial response."""
  value = response.headers.get("Content-Range", "")
  match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", value)
  if match is None:
    return -1, None
  return int(match[1]), int(match[2]) if match[2].isdigit() else None
