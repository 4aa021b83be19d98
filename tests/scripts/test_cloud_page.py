"""The commands of docs/cloud.md: shell syntax, flags and config keys."""

import re
import shlex
import subprocess

import pytest
from absl import flags

import get_jax.cli.main as cli
from tests.helpers import ROOT

PAGE = (ROOT / "docs" / "cloud.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.S | re.M)


def commands():
  """Returns the arguments of each main.py and tpu_run.sh, as one string."""
  found = []
  for block in BLOCKS:
    for line in block.replace("\\\n", " ").splitlines():
      words = shlex.split(line, comments=True)
      for program in {"main.py", "scripts/tpu_run.sh"} & set(words):
        arguments = words[words.index(program) + 1 :]
        found.append(" ".join(a.rstrip(";") for a in arguments if "--" in a))
  return found


def test_every_block_is_shell():
  assert len(BLOCKS) > 15
  for block in BLOCKS:
    done = subprocess.run(
      ["bash", "-n"], input=block, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + block


@pytest.mark.parametrize("command", commands())
def test_flags_and_keys_exist(command):
  arguments = ["main.py", *command.split()]
  for argument in arguments[1:]:
    name = argument.removeprefix("--").partition("=")[0]
    assert name.startswith("config.") or name in flags.FLAGS, argument
  if any(argument.startswith("--config=") for argument in arguments):
    cli.check_config_flags(arguments)


def test_every_part_of_the_walk_has_commands():
  text = " ".join(commands())
  for mode in ("latents", "compile", "sample", "evaluate", "convert", "status"):
    assert f"--mode={mode}" in text
