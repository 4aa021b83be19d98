"""Writes the pages that have their sources elsewhere, before Sphinx reads.

`docs/api/` gets one page for each package of get_jax, `docs/notebooks/` copies
of the notebooks. Git ignores both.
"""

import importlib
import inspect
import pathlib
import pkgutil
import types
from collections.abc import Collection, Iterator, Mapping, Set
from typing import Any

from docstrings import escape
from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock

import get_jax

DOCS = pathlib.Path(__file__).resolve().parents[1]


def packages() -> list[str]:
  """Returns the dotted names of all packages, `get_jax` first."""
  found = pkgutil.walk_packages(get_jax.__path__, "get_jax.")
  return ["get_jax", *sorted(module.name for module in found if module.ispkg)]


def public_names(package: str) -> Iterator[tuple[str, Any]]:
  """Yields the names that a package lists in `__all__`, with their objects."""
  module = importlib.import_module(package)
  for name in module.__all__:
    try:
      yield name, getattr(module, name)
    except AttributeError:
      yield name, importlib.import_module(f"{package}.{name}")


def api_pages() -> dict[str, str]:
  """Returns the pages of the reference: reStructuredText by package.

  A name that several packages export is described where it is met first; the
  other packages refer to it.
  """
  described: dict[int, str] = {}
  pages = {}
  for package in packages():
    lines = [package, "=" * len(package), ""]
    lines += [f".. automodule:: {package}", "   :no-members:", ""]
    entries = []
    for name, value in public_names(package):
      full_name = f"{package}.{name}"
      first = described.setdefault(id(value), full_name)
      lines += [f"* :py:obj:`{name} <{full_name}>`{_summary(value)}"]
      entries += ["", *_entry(full_name, value, first)]
    lines += entries
    pages[package] = "\n".join(lines)
  return pages


def _entry(full_name: str, value: Any, first: str) -> list[str]:
  package, _, short = full_name.rpartition(".")
  data = [f".. py:data:: {short}", f"   :module: {package}", ""]
  if isinstance(value, types.ModuleType):
    return [short, "-" * len(short), "", f".. automodule:: {full_name}", ""]
  if first != full_name:
    return [*data, f"   The same as `{first}`.", ""]
  if inspect.isclass(value):
    return [f".. autoclass:: {full_name}", ""]
  if callable(value):
    return [f".. autofunction:: {full_name}", ""]
  return [*data, f"   {_contents(value)}", ""]


def _summary(value: Any) -> str:
  """Returns the first sentence of a docstring."""
  if not (callable(value) or isinstance(value, types.ModuleType)):
    return ""
  text = (inspect.getdoc(value) or "").partition("\n\n")[0]
  return f": {escape(' '.join(text.split()))}"


def _contents(value: Any) -> str:
  """Returns a line about a constant: the names in it, or the value."""
  if not isinstance(value, Collection) or isinstance(value, str):
    return f"``{value!r}``"
  kind = "A mapping with the keys" if isinstance(value, Mapping) else "Contains"
  names = sorted(value) if isinstance(value, Set) else value
  return f"{kind} {', '.join(f'``{name}``' for name in names)}."


def _write(folder: pathlib.Path, contents: dict[str, str]) -> None:
  """Makes a folder hold these files; leaves equal ones untouched."""
  folder.mkdir(exist_ok=True)
  for path in folder.iterdir():
    if path.name not in contents:
      path.unlink()
  for name, content in contents.items():
    path = folder / name
    if not path.exists() or path.read_text("utf-8") != content:
      path.write_text(content, "utf-8")


def write_pages(app: Sphinx) -> None:
  """Writes all generated pages."""
  with mock(app.config.autodoc_mock_imports):
    pages = {f"{name}.rst": text for name, text in api_pages().items()}
  _write(DOCS / "api", pages)
  notebooks = sorted((DOCS.parent / "notebooks").glob("*.ipynb"))
  # In the copies, links to pages are those of a folder of docs.
  copies = {
    path.name: path.read_text("utf-8").replace("](../docs/", "](../")
    for path in notebooks
  }
  _write(DOCS / "notebooks", copies)


def setup(app: Sphinx) -> dict[str, Any]:
  """Registers the extension."""
  app.connect("builder-inited", write_pages)
  return {"parallel_read_safe": True}
