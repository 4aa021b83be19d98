"""The locked requirements: complete, with hashes, and equal in both files."""

import importlib.metadata
import importlib.util
import re

import pytest
from packaging.requirements import Requirement

from tests.helpers import ROOT

spec = importlib.util.spec_from_file_location(
  "locked", ROOT / "scripts" / "locked.py"
)
locked = importlib.util.module_from_spec(spec)
spec.loader.exec_module(locked)

HASHES = locked.HASHES.read_text("utf-8")
LOCK = locked.LOCK.read_text("utf-8")


def requirements(text):
  """Returns the requirement lines without hashes."""
  lines = (block.splitlines()[0] for _, block in locked.blocks(text))
  return [line.removesuffix("\\").strip() for line in lines]


def locked_versions(text):
  """Returns the versions for this Python and platform, by name."""
  found = map(Requirement, requirements(text))
  return {
    each.name: str(each.specifier).removeprefix("==")
    for each in found
    if each.marker is None or each.marker.evaluate()
  }


def installed_requirements(name, extras, locked, seen):
  """Adds to `seen` what an installed distribution needs, and so on.

  Distributions of versions that are not the locked ones may need others.
  """
  for line in importlib.metadata.requires(name) or ():
    needed = Requirement(line)
    marker = needed.marker
    if marker is None or any(
      marker.evaluate({"extra": extra}) for extra in extras
    ):
      canonical = re.sub(r"[-_.]+", "-", needed.name).lower()
      key = canonical, *sorted(needed.extras)
      if key in seen:
        continue
      seen.add(key)
      try:
        version = importlib.metadata.version(canonical)
      except importlib.metadata.PackageNotFoundError:
        continue
      if locked.get(canonical, version) == version:
        given = {"", *needed.extras}
        installed_requirements(canonical, given, locked, seen)


def test_both_files_lock_the_same():
  assert requirements(HASHES) == requirements(LOCK)
  for name, block in locked.blocks(HASHES):
    assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), name
    assert re.search(r"\n    # in: \w", block), name


@pytest.mark.parametrize("extras", [(), ("test",)])
def test_what_is_selected_is_complete(extras):
  """Of an environment with the locked versions nothing is missing."""
  selected = locked_versions(locked.select(HASHES, ("base", *extras)))
  needed = set()
  installed_requirements("get_jax", {"", *extras}, selected, needed)
  assert {name for name, *_ in needed} <= selected.keys()
  assert {"jax", "numpy"} <= selected.keys()
  assert ("pytest" in selected) == bool(extras)


def test_the_selected_lines_are_those_of_pip():
  text = locked.select(HASHES, ("base", "docs"))
  assert "#" not in text
  for line in text.splitlines():
    assert re.fullmatch(
      r"[\w.-]+==\S+( ; [^\\]+)?\s*\\|    --hash=sha256:[0-9a-f]{64}( \\)?",
      line,
    ), line


def test_an_unknown_extra_is_refused():
  with pytest.raises(ValueError, match="no extra 'tset'; expected .*'test'"):
    locked.select(HASHES, ("tset",))


def test_every_extra_is_locked():
  assert [*locked_versions(locked.select(HASHES, ("build",)))] == ["setuptools"]
  extras = locked.extras_of((ROOT / "setup.py").read_text("utf-8"))
  assert {"test", "tpu", "cuda12"} <= {*extras}
  for extra in extras:
    locked.select(HASHES, (extra,))
