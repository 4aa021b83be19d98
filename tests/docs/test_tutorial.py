"""The commands of docs/tutorial.md, in their order, at smoke scale.

All in float32: the commands share few compiled programs.
"""

import re

from tests.docs.code_blocks import arguments, blocks, commands
from tests.helpers import run_main


def test_the_tutorial_runs(tmp_path):
  done = []
  for block in blocks("docs/tutorial.md", "bash"):
    for words in commands(block.code) if not block.reason else ():
      given = arguments(words)
      if given is None:
        continue
      given = [re.sub(r"(--config=.*\.py)$", r"\1:smoke", a) for a in given]
      given = [a.replace("runs/", f"{tmp_path}/") for a in given]
      given = [a for a in given if ".dtype=" not in a]
      result = run_main(*given, timeout=1200)
      assert result.returncode == 0, f"{block}: {result.stderr}"
      done.append(given)
  assert len(done) > 7
  for workdir in ("get_try", "edm", "get_base"):
    assert (tmp_path / workdir / "samples" / "samples.png").is_file()
  assert "done, 32 pairs" in result_of_status(tmp_path / "get_base")


def result_of_status(workdir):
  return run_main("--mode=status", f"--workdir={workdir}").stdout
