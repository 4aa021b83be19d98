"""A server of weights on this machine, an empty cache and a registry."""

import pytest

from get_jax.storage import cache
from get_jax.weights import downloader, licences, registry
from get_jax.weights.entry import Entry, File, Licence
from tests.weights.weight_server import Resource, Server

FREE = Licence("MIT", "https://example.org/mit")


@pytest.fixture(scope="session")
def running_server():
  with Server() as server:
    yield server


@pytest.fixture
def server(running_server, monkeypatch):
  """The server without resources; clients wait little for it."""
  running_server.reset()
  monkeypatch.setattr(downloader, "BACKOFF", 0.0)
  return running_server


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """The folder of weights in an empty cache; no licence is accepted."""
  monkeypatch.setattr(licences, "_accepted", False)
  monkeypatch.setattr(cache, "_settings", (tmp_path, cache.DEFAULT_GIB))
  monkeypatch.setattr(cache, "_cache", None)
  return tmp_path / "weights"


@pytest.fixture
def publish(server, folder, monkeypatch):
  """`publish(content, **resource) -> (entry, resource)`, named "tiny".

  The entry has one file, "file.bin", in "tiny" in the cache.
  """
  del folder

  def publish(content, *, name="tiny", kind="network", **fields):
    file = File(
      "file.bin", f"{server.address}/{name}", fields.pop("sha256", "")
    )
    names = {"licence", "model", "autoencoder", "config"} & fields.keys()
    options = {"licence": FREE} | {key: fields.pop(key) for key in names}
    entry = Entry(name, kind, (file,), "https://example.org", **options)
    resource = server.resources[f"/{name}"] = Resource(content, **fields)
    monkeypatch.setitem(registry.ENTRIES, name, entry)
    return entry, resource

  return publish
