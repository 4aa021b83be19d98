"""Every code block of the pages runs, or is checked, or says why not.

Python: the blocks of a page run in order in one namespace. Of a block that is
not run, the imports are.

Shell: the syntax is checked. Commands of main.py go through its own parser: all
flags, the config, its keys and their values. Files, modules and extras that
other commands name have to exist. What is left needs a reason. The commands of
docs/tutorial.md also run, see test_tutorial.py.
"""

import ast
import functools
import importlib.util
import json
import re
import subprocess
import sys

import pytest

from tests.docs.code_blocks import PAGES, arguments, blocks, commands
from tests.helpers import ROOT, run_main

PYTHON = [page for page in PAGES if blocks(page, "python")]
SHELL = [block for page in PAGES for block in blocks(page, "bash")]
# Languages of what is no code of ours.
OUTPUT = (
  "text",
  "{toctree}",
  "{include} ../CHANGELOG.md",
  "{include} ../CONTRIBUTING.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_language(page):
  for block in blocks(page):
    assert block.language in ("python", "bash", *OUTPUT), str(block)
  # Blocks by indentation have none.
  outside = re.sub(
    r"^```.*?^```$",
    "",
    (ROOT / page).read_text("utf-8"),
    flags=re.DOTALL | re.MULTILINE,
  )
  assert not re.findall(r"^\n {4,}(?![-*] ).*", outside, flags=re.MULTILINE)


@functools.cache
def run_python(page):
  """Runs the Python blocks of a page in the current folder.

  Returns:
    The names that they define.
  """
  names = {"__name__": "page"}
  for block in blocks(page, "python"):
    tree = ast.parse(block.code)
    if block.reason:
      imports = (ast.Import, ast.ImportFrom)
      tree.body = [node for node in tree.body if isinstance(node, imports)]
    exec(block.setup, names)
    exec(compile(tree, str(block), "exec"), names)
  return names


@pytest.mark.parametrize("page", PYTHON)
def test_python_blocks(page, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  run_python(page)


def test_the_worked_example_of_the_equilibrium_page_converges():
  names = run_python("docs/equilibrium.md")
  assert names["value"] < 1e-3
  assert names["solution"].converged.all()
  # Each sample takes the steps it needs.
  assert len(set(names["solution"].steps.tolist())) > 1


def test_shell_syntax():
  assert len(SHELL) > 30
  for block in SHELL:
    done = subprocess.run(
      ["bash", "-n"], input=block.code, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{block}: {done.stderr}"


COMMANDS = {
  f"{block} {' '.join(arguments(words))}": arguments(words)
  for block in SHELL
  for words in commands(block.code)
  if arguments(words) is not None
}


@pytest.fixture(scope="module")
def refusals():
  """What the parser says about each command, and about bad ones."""
  given = [*COMMANDS.values(), *BAD_COMMANDS]
  done = run_main(
    sys.executable, "tests/docs/parse_commands.py", json.dumps(given)
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout)


BAD_COMMANDS = {
  ("--config=dit_digitz", "--workdir=runs/a"): "not an experiment",
  ("--config=dit_digits", "--workdir=runs/a", "--config.modle.depth=2"): "key",
  ("--config=dit_digits", "--workdir=runs/a", "--config.batch_size=0"): "is 0",
  ("--config=dit_digits", "--workdir=runs/a", "--export=a.pt"): "needs",
  ("--mode=stauts", "--workdir=runs/a"): "mode",
}


def test_commands_of_main_are_valid(refusals):
  named = dict(zip(COMMANDS, refusals, strict=False))
  assert len(named) > 30
  assert {name: message for name, message in named.items() if message} == {}


def test_the_parser_refuses_bad_commands(refusals):
  bad = refusals[len(COMMANDS) :]
  for message, expected in zip(bad, BAD_COMMANDS.values(), strict=True):
    assert expected in message


def test_every_part_of_the_walk_to_the_cloud_has_commands():
  text = " ".join(name for name in COMMANDS if name.startswith("docs/cloud.md"))
  for mode in ("latents", "compile", "sample", "evaluate", "convert", "status"):
    assert f"--mode={mode}" in text


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_other_commands_exist_or_have_a_reason(block):
  for words in commands(block.code):
    if arguments(words) is None:
      assert is_known(words) or block.reason, f"{block}: {words}"


def is_known(words):
  """Checks the files, modules or extras that a command names, if any."""
  match words:
    case ["bash", script, *_] | ["python", script, *_] if "/" in script:
      assert (ROOT / script).is_file(), script
    case ["python", "-m", module, *_] if module != "build":
      assert importlib.util.find_spec(module), module
    case ["pip", "install", *options]:
      found = re.search(r"(?:get_jax|\.)\[([\w,]+)\]", " ".join(options))
      extras = (ROOT / "setup.py").read_text("utf-8")
      for extra in found[1].split(",") if found else ():
        assert f'"{extra}": [' in extras, extra
      return found or options[-1] == "."
    case _:
      return False
  return True
