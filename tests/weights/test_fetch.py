"""Downloads of weights: cut, refused, changed, confirmed, placed by hand."""

import dataclasses
import hashlib
import multiprocessing.pool
import os
import signal
import time

import pytest

from get_jax.errors import UsageError
from get_jax.training.preemption import Stopped, handle_stop_signals
from get_jax.weights import downloader, fetch, licences, registry
from get_jax.weights.entry import File, Licence
from tests.weights.weight_server import Resource

CONTENT = bytes(range(256)) * 2000  # several chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NON_COMMERCIAL = Licence("CC BY-NC", "https://example.org/by-nc", False)


def ranges(server):
  return [wanted for _, wanted in server.requests]


def test_a_file_is_fetched_once(publish, server, folder):
  publish(CONTENT)
  path = fetch("tiny")
  assert path == folder / "tiny" / "file.bin"
  assert fetch("tiny").read_bytes() == CONTENT
  assert ranges(server) == [None]
  record = (folder / "tiny" / "file.bin.sha256").read_text()
  assert record == f"{DIGEST}  file.bin\n"
  assert not list(folder.rglob("*.part*"))


def test_a_cut_download_continues_where_it_ended(publish, server):
  publish(CONTENT, cuts=[200_000, 100_000])
  assert fetch("tiny").read_bytes() == CONTENT
  first, second, third = ranges(server)
  starts = [int(wanted.strip("bytes=-")) for wanted in (second, third)]
  assert first is None
  assert 0 < starts[0] <= 200_000
  assert starts[0] < starts[1] <= starts[0] + 100_000


def test_a_download_of_an_ended_process_continues(publish, server, monkeypatch):
  _, resource = publish(CONTENT, cuts=[300_000])
  with monkeypatch.context() as patch:
    patch.setattr(downloader, "ATTEMPTS", 1)
    with pytest.raises(UsageError, match="the connection is cut again and ag"):
      fetch("tiny")
  assert not resource.cuts
  assert fetch("tiny").read_bytes() == CONTENT
  assert ranges(server)[1] not in (None, "bytes=0-")


def test_a_complete_part_is_not_fetched_again(publish, server, folder):
  publish(CONTENT)
  (folder / "tiny").mkdir(parents=True)
  part = folder / "tiny" / "file.bin.part"
  part.write_bytes(CONTENT)
  source = f'{{"url": "{server.address}/tiny", "validator": "\\"1\\""}}'
  part.with_name("file.bin.part.json").write_text(source)
  assert fetch("tiny").read_bytes() == CONTENT
  assert ranges(server) == [f"bytes={len(CONTENT)}-"]


def test_parts_of_two_versions_are_not_joined(publish, server, monkeypatch):
  _, resource = publish(CONTENT, cuts=[300_000])
  with monkeypatch.context() as patch:
    patch.setattr(downloader, "ATTEMPTS", 1)
    with pytest.raises(UsageError, match="again and again"):
      fetch("tiny")
  resource.content, resource.etag = CONTENT[::-1], '"2"'
  assert fetch("tiny").read_bytes() == CONTENT[::-1]
  assert ranges(server)[1] is not None


@pytest.mark.parametrize("fields", [dict(ranges=False), dict(etag="")])
def test_a_server_without_ranges_or_validators(publish, fields):
  publish(CONTENT, cuts=[200_000], **fields)
  assert fetch("tiny").read_bytes() == CONTENT


def test_a_server_that_stops_sending(publish, server, monkeypatch):
  monkeypatch.setattr(downloader, "TIMEOUT", 0.3)
  publish(CONTENT, stalls=[200_000])
  assert fetch("tiny").read_bytes() == CONTENT
  assert len(ranges(server)) == 2
  assert ranges(server)[1] is not None


def test_a_busy_server_is_asked_again(publish, server):
  publish(CONTENT, statuses=[503, 429])
  assert fetch("tiny").read_bytes() == CONTENT
  assert len(server.requests) == 3


def test_a_redirect_is_followed(publish, server):
  _, resource = publish(CONTENT)
  server.resources["/elsewhere"] = dataclasses.replace(resource)
  resource.location = f"{server.address}/elsewhere"
  assert fetch("tiny").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_refused_file(publish, server, folder, status):
  entry, _ = publish(CONTENT, statuses=[status] * downloader.ATTEMPTS)
  with pytest.raises(UsageError) as error:
    fetch("tiny")
  message = str(error.value)
  for part in (
    f"HTTP status {status}",
    f"{server.address}/tiny",
    str(folder / "tiny" / "file.bin"),
    entry.licence.name,
  ):
    assert part in message
  assert not (folder / "tiny" / "file.bin").exists()


def test_a_server_that_cannot_be_reached(publish, server, monkeypatch):
  entry, _ = publish(CONTENT)
  file = File("file.bin", "http://127.0.0.1:9/tiny")
  offline = dataclasses.replace(entry, files=(file,))
  monkeypatch.setitem(registry.ENTRIES, "tiny", offline)
  with pytest.raises(UsageError, match=r"127.0.0.1:9/tiny \(the server cannot"):
    fetch("tiny")


def test_a_file_that_is_not_the_published_one(publish):
  publish(CONTENT, sha256="0123")
  with pytest.raises(UsageError, match=rf"{DIGEST}; expected .* 0123\.\.\.:"):
    fetch("tiny")


def test_the_first_digits_of_the_published_hash(publish):
  publish(CONTENT, sha256=DIGEST[:8])
  assert fetch("tiny").read_bytes() == CONTENT


def test_a_file_that_changed_after_its_first_use(publish):
  publish(CONTENT)
  path = fetch("tiny")
  path.write_bytes(CONTENT[:-1])
  with pytest.raises(UsageError, match=f"expected {DIGEST}, that of its first"):
    fetch("tiny")
  path.unlink()  # as the message says
  assert fetch("tiny").read_bytes() == CONTENT


def test_another_file_at_the_address_than_at_first_use(publish):
  _, resource = publish(CONTENT)
  fetch("tiny").unlink()
  resource.content = b"other"
  with pytest.raises(UsageError, match=f"expected {DIGEST}, that of its first"):
    fetch("tiny")


def test_a_file_placed_by_hand(publish, server, folder):
  publish(CONTENT)
  (folder / "tiny").mkdir(parents=True)
  (folder / "tiny" / "file.bin").write_bytes(b"by hand")
  assert fetch("tiny").read_bytes() == b"by hand"
  assert not server.requests
  (folder / "tiny" / "file.bin").write_bytes(b"changed")
  with pytest.raises(UsageError, match="that of its first use"):
    fetch("tiny")


def test_weights_that_programs_cannot_fetch(publish, folder, monkeypatch):
  entry, _ = publish(CONTENT)
  manual = dataclasses.replace(entry, files=(File("a.pth"),))
  monkeypatch.setitem(registry.ENTRIES, "tiny", manual)
  path = folder / "tiny" / "a.pth"
  with pytest.raises(UsageError) as error:
    fetch("tiny")
  for part in ("by hand", entry.page, str(path), entry.licence.name):
    assert part in str(error.value)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(CONTENT)
  assert fetch("tiny") == path


def test_a_licence_is_printed_once_and_accepted_once(publish, server, capsys):
  publish(CONTENT, licence=NON_COMMERCIAL)
  with pytest.raises(UsageError, match="by-nc; read it, .* --accept_licence"):
    fetch("tiny")
  assert not server.requests
  assert not capsys.readouterr().out
  licences.accept()
  fetch("tiny")
  assert "CC BY-NC (non-commercial use only), htt" in capsys.readouterr().out
  licences.accept(False)
  fetch("tiny")
  assert not capsys.readouterr().out


def test_a_licence_is_accepted_by_an_argument(publish):
  publish(CONTENT, licence=NON_COMMERCIAL)
  assert fetch("tiny", accept_licence=True).read_bytes() == CONTENT


FORM = """<html><form id="download-form" action="{action}" method="get">
<input type="hidden" name="id" value="a&amp;b"><input type="submit" value="Go">
<input type="hidden" name="confirm" value="yes"></form></html>"""


def test_the_form_of_large_files_is_followed(publish, server):
  page = FORM.format(action=f"{server.address}/tiny")
  publish(CONTENT, html=page, cuts=[200_000])
  assert fetch("tiny").read_bytes() == CONTENT
  confirmed = [r for r in server.requests if "confirm=yes" in r[0]]
  assert [path for path, _ in confirmed] == ["/tiny?id=a%26b&confirm=yes"] * 2
  assert confirmed[1][1] is not None


@pytest.mark.parametrize(
  "page", ["<html>Quota exceeded</html>", FORM.format(action="file:///a")]
)
def test_a_page_instead_of_the_file(publish, page):
  publish(CONTENT, html=page)
  with pytest.raises(UsageError, match="a web page instead of the file"):
    fetch("tiny")


def test_a_stopped_download_continues(publish, server, folder, monkeypatch):
  monkeypatch.setattr(downloader, "TIMEOUT", 0.3)
  part = folder / "tiny" / "file.bin.part"

  def stop():
    while not (part.exists() and part.stat().st_size):
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

  publish(CONTENT, stalls=[200_000], on_stall=stop)
  with (
    handle_stop_signals(),
    pytest.raises(Stopped, match=r"fetching file\.bin after"),
  ):
    fetch("tiny")
  server.requests.clear()
  assert fetch("tiny").read_bytes() == CONTENT
  assert ranges(server) not in ([None], [])


def _fetch(_):
  return fetch("tiny").read_bytes() == CONTENT


def test_processes_download_once(publish, server):
  publish(CONTENT)
  with multiprocessing.pool.ThreadPool(4) as pool:
    assert all(pool.map(_fetch, range(4)))
  assert len(server.requests) == 1


def test_a_cache_that_cannot_be_written(publish, folder):
  publish(CONTENT)
  folder.write_bytes(b"a file")
  with pytest.raises(UsageError, match="cannot be written .*--cache_dir"):
    fetch("tiny")


@pytest.fixture
def hub(server, publish, monkeypatch):
  """The server as Hugging Face Hub, with weights of two files."""
  template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
  monkeypatch.setattr(
    "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template
  )
  entry, _ = publish(b"")
  files = tuple(
    File(name, f"hf://owner/repo/sub/{name}") for name in ("a.json", "b.bin")
  )
  monkeypatch.setitem(
    registry.ENTRIES, "tiny", dataclasses.replace(entry, files=files)
  )
  base = "/owner/repo/resolve/main/sub/"
  server.resources[f"{base}a.json"] = Resource(b"{}")
  server.resources[f"{base}b.bin"] = Resource(CONTENT, hub=True)
  return server.resources, base


def test_a_folder_of_the_hub(hub, folder):
  path = fetch("tiny")
  assert path == folder / "tiny"
  assert (path / "a.json").read_bytes() == b"{}"
  assert (path / "b.bin").read_bytes() == CONTENT


def test_a_file_of_the_hub_that_is_not_the_published_one(hub, folder):
  resources, base = hub
  # The hub publishes the hash of other content.
  resources[f"{base}b.bin"].location = f"{base}changed"
  resources[f"{base}changed"] = Resource(CONTENT[::-1])
  with pytest.raises(UsageError, match=f"published SHA-256 {DIGEST} and was"):
    fetch("tiny")
  assert not (folder / "tiny" / "b.bin").exists()


def test_a_file_that_the_hub_does_not_have(hub):
  resources, base = hub
  del resources[f"{base}b.bin"]
  with pytest.raises(UsageError, match=r"sub/b\.bin \(HTTP status 404\)"):
    fetch("tiny")
