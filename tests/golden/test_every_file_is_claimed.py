"""Every file of the root is a case of some test."""

import importlib
import pathlib

import pytest
from cases import CLAIMED, ROOT

DESCRIPTIONS = {"README.md", "OTHER_NAMES.txt"}


def test_every_file_is_claimed():
  if not ROOT.is_dir():
    pytest.skip(f"no reference numbers at {ROOT}")
  for module in pathlib.Path(__file__).parent.glob("test_*.py"):
    importlib.import_module(module.stem)
  present = {path for path in ROOT.rglob("*") if path.is_file()}
  left_over = {
    path.relative_to(ROOT).as_posix()
    for path in present - CLAIMED
    if path.name not in DESCRIPTIONS
  }
  assert not left_over
