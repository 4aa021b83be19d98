"""A server of Google Cloud Storage on loopback, which fails on request.

The objects are those of gcp-storage-emulator, in memory. What it lacks is in
front of it: threads, `ifGenerationMatch`, latency and faults.

python -m tests.bucket_server --latency=0.02
prints the environment of the clients and serves until it is interrupted.
"""

import argparse
import contextlib
import dataclasses
import http.server
import io
import json
import re
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator

from gcp_storage_emulator import server as emulator
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.storage import Storage

BUCKET = "test-bucket"
REASONS = {
  401: "Invalid Credentials",
  403: "service-account does not have storage.objects access",
  404: "The specified bucket does not exist.",
  412: "At least one of the pre-conditions did not hold.",
  429: "The rate of requests is too high",
  499: "The upload is cancelled",
  503: "Backend unavailable",
}


@dataclasses.dataclass
class Fault:
  """Requests that fail.

  Attributes:
    kind: status of the answer; "drop": the connection breaks at once; "lost":
      it breaks after the request is served; "cut": it breaks in the middle of
      the answer.
    times: how often requests fail; None is for ever.
    pattern: regular expression that "METHOD /path?query", unquoted, contains.
    hits: number of requests that failed.
  """

  kind: int | str
  times: int | None = None
  pattern: str = ""
  hits: int = 0

  def strikes(self, request: str) -> bool:
    """Returns whether a request fails, and counts it."""
    spent = self.times is not None and self.hits >= self.times
    if spent or not re.search(self.pattern, request):
      return False
    self.hits += 1
    return True


class BucketServer:
  """The server; a context.

  Args:
    latency: seconds before every answer.
    port: its port; 0 takes a free one.

  Attributes:
    url: address of the server.
    requests: "METHOD /path?query" of every request, in order.
  """

  def __init__(self, latency: float = 0.0, port: int = 0):
    self.latency = latency
    self.faults: list[Fault] = []
    self.requests: list[str] = []
    self.uploaded: dict[str, bytes] = {}  # answers by the path of an upload
    self.lock = threading.Lock()
    self.storage = Storage(use_memory_fs=True)
    # It would write a list of all objects after each request.
    self.storage._write_config_to_file = lambda: None
    buckets.create_bucket(BUCKET, self.storage)
    handler = type("Handler", (_Handler,), {"owner": self})
    self._server = _Server(("127.0.0.1", port), handler)
    self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
    self._thread = threading.Thread(target=self._server.serve_forever)

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *_):
    self._server.shutdown()
    self._server.server_close()
    self._thread.join()

  @property
  def environment(self) -> dict[str, str]:
    """Environment variables with which clients use this server."""
    return {
      "STORAGE_EMULATOR_HOST": self.url,
      "TENSORSTORE_GCS_HTTP_URL": self.url,
      # No proxy between this machine and itself.
      "NO_PROXY": "127.0.0.1",
      "no_proxy": "127.0.0.1",
    }

  @contextlib.contextmanager
  def fault(
    self, kind: int | str, times: int | None = None, pattern: str = ""
  ) -> Iterator[Fault]:
    """Context in which requests fail; see `Fault`."""
    fault = Fault(kind, times, pattern)
    self.faults.append(fault)
    try:
      yield fault
    finally:
      self.faults.remove(fault)

  def objects(self, prefix: str = "") -> dict[str, bytes]:
    """Returns the objects of the bucket whose names start with a prefix."""
    with self.lock:
      return {
        name: self.storage.get_file(BUCKET, name)
        for name in self.storage.objects.get(BUCKET, {})
        if name.startswith(prefix)
      }

  def put(self, name: str, content: bytes) -> None:
    """Replaces an object, whatever its generation."""
    quoted = urllib.parse.quote(name, safe="")
    path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quoted}"
    request = urllib.request.Request(
      self.url + path,
      content,
      {"Content-Type": "application/octet-stream"},
      method="POST",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(request).close()

  def delete(self, name: str) -> None:
    """Deletes an object."""
    with self.lock:
      self.storage.delete_file(BUCKET, name)


class _Server(http.server.ThreadingHTTPServer):
  daemon_threads = True
  request_queue_size = 128

  def handle_error(self, request, client_address):
    """Stays silent: clients that are killed leave broken connections."""


class _Handler(emulator.RequestHandler):
  owner: BucketServer

  def __init__(self, *args):
    super().__init__(self.owner.storage, *args)

  def do_GET(self):
    self._serve("GET")

  def do_POST(self):
    self._serve("POST")

  def do_PUT(self):
    self._serve("PUT")

  def do_DELETE(self):
    self._serve("DELETE")

  def do_PATCH(self):
    self._serve("PATCH")

  def _serve(self, method: str) -> None:
    owner = self.owner
    # Tensorstore sends bodies in chunks, which the emulator decodes.
    body = emulator._read_raw_data(self) or b""
    del self.headers["Transfer-Encoding"]
    self._set_body(body)
    self._unpack(body)
    request = f"{method} {urllib.parse.unquote(self.path)}"
    if owner.latency:
      time.sleep(owner.latency)
    with owner.lock:
      owner.requests.append(request)
      fault = next((f for f in owner.faults if f.strikes(request)), None)
      if fault is not None and isinstance(fault.kind, int):
        status = fault.kind
      elif fault is not None and fault.kind == "drop":
        status, answer = 0, b""
      elif not (status := self._refusal(method)):
        answer = owner.uploaded.get(self.path) or self._answer(method)
        if "upload_id=" in self.path and answer.split()[1] == b"200":
          # The last part of an upload may be sent again.
          owner.uploaded[self.path] = answer
    if status:
      return self._refuse(status)
    if fault is not None:
      head, _, content = answer.partition(b"\r\n\r\n")
      half = head + b"\r\n\r\n" + content[: len(content) // 2]
      answer = half if fault.kind == "cut" else b""
    self.wfile.write(answer)
    if fault is not None:
      self.wfile.flush()
      self.connection.shutdown(socket.SHUT_RDWR)

  def _unpack(self, body: bytes) -> None:
    """Moves the name of an object from the body of a request to its path."""
    if "uploadType=multipart" not in self.path:
      return
    name, content = _split_multipart(self.headers["Content-Type"], body)
    self.path += f"&name={urllib.parse.quote(name, safe='')}"
    if content:
      # The emulator reads it as an e-mail, which takes long.
      self.path = self.path.replace("=multipart", "=media")
      del self.headers["Content-Type"]
      self.headers["Content-Type"] = "application/octet-stream"
      self._set_body(content)

  def _answer(self, method: str) -> bytes:
    connection, self.wfile = self.wfile, io.BytesIO()
    try:
      emulator.Router(self).handle(method)
      answer = self.wfile.getvalue()
    finally:
      self.wfile = connection
    url = urllib.parse.urlsplit(self.path)
    if method == "GET" and "alt=media" in url.query:
      bucket, name, _ = _target(url)
      head, end, content = answer.partition(b"\r\n\r\n")
      generation = self._generation(bucket, name)
      header = f"\r\nx-goog-generation: {generation}".encode()
      answer = head + header + end + content
    return answer

  def _generation(self, bucket: str, name: str) -> str:
    """Returns the generation of an object; "0" if there is none."""
    try:
      return self.storage.get_file_obj(bucket, name)["generation"]
    except NotFound:
      return "0"

  def _set_body(self, body: bytes) -> None:
    del self.headers["Content-Length"]
    self.headers["Content-Length"] = str(len(body))
    self.rfile = io.BytesIO(body)

  def _refuse(self, status: int) -> None:
    error = {"code": status, "message": REASONS[status]}
    content = json.dumps({"error": error})
    self.send_response(status, REASONS[status])
    self.send_header("Content-Type", "application/json")
    self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    self.wfile.write(content.encode())

  def _refusal(self, method: str) -> int:
    """Returns the status of requests that the emulator must not see, or 0."""
    url = urllib.parse.urlsplit(self.path)
    if method == "DELETE" and url.path.startswith("/upload/"):
      return 499
    bucket, name, query = _target(url)
    if not bucket:
      return 0
    generation = self._generation(bucket, name)
    if method == "GET" and query.get("generation", generation) != generation:
      return 404
    return 0 if query.get("ifGenerationMatch") in (None, generation) else 412


def _target(url: urllib.parse.SplitResult) -> tuple[str, str, dict[str, str]]:
  """Returns bucket, object and query of a request; "" if it has none."""
  query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
  parts = re.search(r"/b/([^/]+)/o(?:/(.+))?$", url.path)
  if parts is None:
    return "", "", query
  name = urllib.parse.unquote(parts[2] or query.get("name", ""))
  return urllib.parse.unquote(parts[1]), name, query


def _split_multipart(content_type: str, body: bytes) -> tuple[str, bytes]:
  """Returns the name and the content of an object that is uploaded."""
  boundary = re.search(r'boundary="?([^";]+)', content_type)
  assert boundary is not None
  separator = b"--" + boundary[1].encode()
  newline = b"\r\n" if separator + b"\r\n" in body[:200] else b"\n"
  first, rest = body[len(separator) :].split(newline + separator, 1)
  metadata = first.partition(newline * 2)[2]
  end = rest.rindex(separator + b"--")
  content = rest.partition(newline * 2)[2]
  content = content[: len(content) - (len(rest) - end)]
  return json.loads(metadata)["name"], content.removesuffix(newline)


def main() -> None:
  """Serves until it is interrupted."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--latency", type=float, default=0.0, help="seconds")
  parser.add_argument("--port", type=int, default=0)
  args = parser.parse_args()
  with BucketServer(args.latency, args.port) as server:
    for name, value in server.environment.items():
      print(f"export {name}={value}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
      threading.Event().wait()


if __name__ == "__main__":
  main()
