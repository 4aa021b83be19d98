"""An HTTP server on this machine that fails in chosen ways."""

import contextlib
import dataclasses
import hashlib
import http.server
import re
import threading
from collections.abc import Callable


@dataclasses.dataclass
class Resource:
  """What the server has at a path.

  Attributes:
    content: the bytes.
    etag: validator; "": the server sends none.
    ranges: whether parts may be requested.
    cuts: numbers of bytes after which the connections are cut; one for each of
      the first requests.
    statuses: HTTP status of each of the first requests, instead of the content.
    location: address to redirect to.
    html: a page instead of the content, unless the query has confirm=yes.
    stalls: number of bytes after which the server sends nothing more until the
      client leaves; for each of the first requests.
    on_stall: called then.
    hub: whether it is a large file of the Hugging Face Hub.
  """

  content: bytes = b""
  etag: str = '"1"'
  ranges: bool = True
  cuts: list[int] = dataclasses.field(default_factory=list)
  statuses: list[int] = dataclasses.field(default_factory=list)
  location: str = ""
  html: str = ""
  stalls: list[int] = dataclasses.field(default_factory=list)
  on_stall: Callable[[], object] = lambda: None
  hub: bool = False


class Server:
  """Serves `resources`, by path, and lists `requests` as (path, range)."""

  def __init__(self):
    self.resources: dict[str, Resource] = {}
    self.requests: list[tuple[str, str | None]] = []
    handler = type("Handler", (_Handler,), {"owner": self})
    self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    self.address = f"http://127.0.0.1:{self._server.server_port}"
    self._thread = threading.Thread(target=self._server.serve_forever)

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *_):
    self._server.shutdown()
    self._thread.join()
    self._server.server_close()

  def reset(self):
    self.resources.clear()
    self.requests.clear()


class _Handler(http.server.BaseHTTPRequestHandler):
  owner: Server

  def log_message(self, *_):
    pass

  def do_HEAD(self):
    resource = self.owner.resources.get(self.path)
    if resource is None:
      return self._status(404)
    self.send_response(200)
    self.send_header("Content-Length", str(len(resource.content)))
    self.send_header("X-Repo-Commit", "0" * 40)
    self.send_header("ETag", '"0123"')
    if resource.hub:
      digest = hashlib.sha256(resource.content).hexdigest()
      self.send_header("X-Linked-ETag", f'"{digest}"')
      self.send_header("X-Linked-Size", str(len(resource.content)))
    self.end_headers()

  def do_GET(self):
    path, _, query = self.path.partition("?")
    owner, wanted = self.owner, self.headers.get("Range")
    owner.requests.append((self.path, wanted))
    resource = owner.resources.get(path)
    if resource is None:
      return self._status(404)
    if resource.statuses:
      return self._status(resource.statuses.pop(0))
    if resource.location:
      return self._status(302, Location=resource.location)
    if resource.html and "confirm=yes" not in query:
      return self._page(resource.html)
    start = self._start(resource, wanted)
    if start is not None and start >= len(resource.content):
      total = f"bytes */{len(resource.content)}"
      return self._status(416, **{"Content-Range": total})
    self._send(resource, start)

  def _start(self, resource, wanted):
    if not (resource.ranges and wanted):
      return None
    if self.headers.get("If-Range", resource.etag) != resource.etag:
      return None
    return int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])

  def _send(self, resource, start):
    content = resource.content[start or 0 :]
    self.send_response(200 if start is None else 206)
    self.send_header("Content-Length", str(len(content)))
    if resource.etag:
      self.send_header("ETag", resource.etag)
    if start is not None:
      size = len(resource.content)
      self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    self.end_headers()
    if resource.cuts:
      self.wfile.write(content[: resource.cuts.pop(0)])
    elif resource.stalls:
      self.wfile.write(content[: resource.stalls.pop(0)])
      self.wfile.flush()
      resource.on_stall()
      with contextlib.suppress(ConnectionError):
        self.rfile.read(1)  # returns when the client closes the connection
    else:
      self.wfile.write(content)
    self.close_connection = True

  def _page(self, text):
    self.send_response(200)
    self.send_header("Content-Type", "text/html; charset=utf-8")
    self.end_headers()
    self.wfile.write(text.encode())

  def _status(self, status, **headers):
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name, value)
    self.send_header("Content-Length", "0")
    self.end_headers()
