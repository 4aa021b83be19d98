"""The entries of the registry, and the page that lists them."""

import dataclasses
import importlib
import importlib.util
import pathlib

import jax
import pytest

from get_jax.errors import UsageError
from get_jax.models import create_model
from get_jax.models.parameters import abstract_params
from get_jax.weights import create_network, find, names
from get_jax.weights.fetching import web_address
from get_jax.weights.table import format_size

ROOT = pathlib.Path(__file__).parents[2]
ENTRIES = [find(name) for name in names()]
NETWORKS = [find(name) for name in names("network")]
OFFICIAL = [entry for entry in ENTRIES if not entry.packaged]
# Fields of networks that change how they compute or train, not what.
COMPUTE = {"attention", "dropout", "dtype", "name", "parent", "remat", "scan"}


def test_folders_in_the_cache_differ():
  folders = {entry.folder.lower() for entry in ENTRIES}
  assert len(folders) == len(ENTRIES)
  assert not any("/" in folder for folder in folders)


@pytest.mark.parametrize("entry", OFFICIAL, ids=lambda entry: entry.name)
def test_addresses(entry):
  assert entry.page.startswith("https://")
  assert entry.licence.url.startswith("https://")
  for file in entry.files:
    assert not file.url or web_address(file).startswith("https://")
    assert pathlib.PurePath(file.name).name == file.name


@pytest.mark.parametrize("entry", NETWORKS, ids=lambda entry: entry.name)
def test_a_network_is_that_of_its_config(entry):
  config = importlib.import_module(f"configs.{entry.config}").get_config()
  found, expected = create_network(entry.name), create_model(**config.model)
  assert type(found) is type(expected)
  for field in dataclasses.fields(found):
    if field.name not in COMPUTE:
      values = getattr(found, field.name), getattr(expected, field.name)
      assert values[0] == values[1], field.name
  assert bool(entry.autoencoder) == bool(config.autoencoder.name)
  if entry.autoencoder:
    find(entry.autoencoder, "autoencoder")
  assert entry.score.split(",")[0].startswith("FID ")


@pytest.mark.parametrize(
  ("name", "copies"),
  [("U-ViT-S/2-CIFAR-10", 1), ("edm-cifar10-32x32-cond-vp", 1), ("GET-T/2", 4)],
)
def test_sizes_follow_from_the_parameters(name, copies):
  leaves = jax.tree.leaves(abstract_params(create_network(name)))
  assert find(name).size == copies * 4 * sum(leaf.size for leaf in leaves)


def test_sizes_in_words():
  assert format_size(find("DiT-XL/2-256")) == "2.70 GB"
  assert format_size(find("sd-vae")) == "335 MB"


def test_families_that_exclude_commercial_use():
  restricted = {e.name for e in ENTRIES if not e.licence.commercial}
  families = ("DiT-", "DiffiT-", "edm-")
  assert restricted == {n for n in names() if n.startswith(families)}


def test_the_scores_of_the_official_pages():
  """Every score is also in docs/checkpoints.md, in the row of its config."""
  rows = (ROOT / "docs" / "checkpoints.md").read_text("utf-8").splitlines()
  for entry in OFFICIAL:
    if entry.kind != "network":
      continue
    score = entry.score.split(",")[0].removeprefix("FID ").split(" ")[0]
    matching = [row for row in rows if f"`{entry.config}.py`" in row]
    assert any(score in row for row in matching), entry.name


def test_an_unknown_name_lists_the_near_ones():
  with pytest.raises(UsageError, match=r"did you mean .*'DiffiT-256'.*\?$"):
    find("Difit-256")


def test_the_page_is_up_to_date():
  spec = importlib.util.spec_from_file_location(
    "list_weights", ROOT / "scripts" / "list_weights.py"
  )
  script = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(script)
  page = (ROOT / "docs" / "weights.md").read_text("utf-8")
  assert page == script.page(), "run python scripts/list_weights.py"
