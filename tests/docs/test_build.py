"""The pages build without warnings, and have every public name."""

import importlib
import pkgutil
import sys

import pytest
from sphinx.util.inventory import InventoryFile

import get_jax
from tests.helpers import ROOT, run_main


@pytest.fixture(scope="module")
def site(tmp_path_factory):
  """The built pages."""
  folder = tmp_path_factory.mktemp("docs")
  options = ("-q", "-W", "--keep-going", "-d", folder / "doctrees")
  done = run_main(
    sys.executable, "-m", "sphinx", *options, ROOT / "docs", folder / "html"
  )
  assert done.returncode == 0, done.stderr
  return folder / "html"


def public_names():
  """Yields the full name of every public name of every package."""
  found = pkgutil.walk_packages(get_jax.__path__, "get_jax.")
  for package in ("get_jax", *(m.name for m in found if m.ispkg)):
    for name in importlib.import_module(package).__all__:
      yield f"{package}.{name}"


def test_every_public_name_has_one_entry(site):
  with (site / "objects.inv").open("rb") as file:
    inventory = InventoryFile.load(file, "", lambda a, b: b)
  pages = {}
  for kind in inventory:
    if kind.startswith("py:"):
      for name, item in inventory[kind].items():
        pages.setdefault(name, []).append(item.uri.partition("#")[0])
  for name in public_names():
    package = name.rpartition(".")[0]
    expected = f"api/{name if name in PACKAGES else package}.html"
    assert pages.get(name, []) in ([expected],), name


PACKAGES = {
  module.name
  for module in pkgutil.walk_packages(get_jax.__path__, "get_jax.")
  if module.ispkg
}


def test_pages_need_no_network(site):
  index = (site / "index.html").read_text("utf-8")
  assert "save_grid" in index
  assert 'src="http' not in index
  assert 'rel="stylesheet" type="text/css" href="http' not in index


def test_notebooks_are_pages_with_their_outputs(site):
  page = (site / "notebooks" / "quickstart.html").read_text("utf-8")
  assert "GET, one call" in page
  assert page.count("<img") > 3
