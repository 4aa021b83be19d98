"""What `import get_jax` offers, and what it does not import."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import get_jax


@pytest.mark.parametrize("name", get_jax.__all__)
def test_public_names_are_found_and_listed(name):
  assert getattr(get_jax, name) is not None
  assert name in dir(get_jax)


def test_an_unknown_name_is_an_attribute_error():
  with pytest.raises(AttributeError, match="no attribute 'create_modle'"):
    get_jax.create_modle  # noqa: B018


def test_the_import_loads_neither_jax_nor_flax():
  code = (
    "import sys, get_jax; "
    "print(sorted({'jax', 'flax', 'numpy'} & set(sys.modules)))"
  )
  found = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert found.stdout.strip() == "[]"


def packages():
  """Every package of the library, by its dotted name."""
  found = pkgutil.walk_packages(get_jax.__path__, "get_jax.")
  return ["get_jax", *(module.name for module in found if module.ispkg)]


@pytest.mark.parametrize("name", packages())
def test_every_package_lists_its_public_names(name):
  package = importlib.import_module(name)
  assert package.__all__
  for public in package.__all__:
    try:
      getattr(package, public)
    except AttributeError:
      importlib.import_module(f"{name}.{public}")
