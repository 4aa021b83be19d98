"""Prints the locked requirements of get_jax with their hashes, for pip.

  python scripts/locked.py base,cuda12 > requirements.txt
  pip install --require-hashes --no-deps -r requirements.txt

"base" are the requirements of get_jax itself, "build" what installs it, and the
other names are its extras. The requirements come from requirements/hashes.txt,
which holds for every Python, platform and extra: there, a comment below each of
them has the names of the parts that need it.

  python scripts/locked.py --write=UV

writes that file with the command UV; scripts/lock.sh calls it.
"""

import argparse
import ast
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOCK, HASHES = ROOT / "requirements/lock.txt", ROOT / "requirements/hashes.txt"
BASE, BUILD = "base", "build"
BUILD_REQUIRES = ("setuptools",)
_COMMENT = "    # in: "


def blocks(text: str) -> Iterator[tuple[str, str]]:
  """Yields the name of each requirement, and its lines.

  Args:
    text: a file of requirements; a requirement may have several lines.
  """
  for block in re.split(r"\n(?=[A-Za-z0-9])", text):
    if name := re.match(r"[A-Za-z0-9][\w.-]*", block):
      yield name[0], block.rstrip("\n") + "\n"


def select(text: str, parts: Sequence[str]) -> str:
  """Returns the requirements of some parts.

  Args:
    text: content of requirements/hashes.txt.
    parts: "base", "build" or extras.

  Raises:
    ValueError: there is no such part.
  """
  known, kept = set(), []
  for _, block in blocks(text):
    requirement, _, names = block.partition(_COMMENT)
    known |= {*names.split()}
    if {*parts} & {*names.split()}:
      kept.append(requirement)
  if unknown := sorted({*parts} - known):
    raise ValueError(
      f"get_jax has no extra {unknown[0]!r}; expected some of {sorted(known)}"
    )
  return "".join(kept)


def extras_of(setup: str) -> list[str]:
  """Returns the names of the extras in the code of setup.py."""
  for statement in ast.parse(setup).body:
    if isinstance(statement, ast.Assign) and isinstance(
      statement.value, ast.Dict
    ):
      if [ast.unparse(target) for target in statement.targets] == ["EXTRAS"]:
        return [ast.literal_eval(key) for key in statement.value.keys if key]
  raise ValueError("setup.py assigns no dictionary to EXTRAS")


def write(uv: str) -> None:
  """Writes requirements/hashes.txt for the versions of requirements/lock.txt.

  Args:
    uv: the command.
  """

  def resolve(*options: str) -> str:
    command = [uv, "pip", "compile", "setup.py", "--quiet", "--universal"]
    command += ["--python-version=3.11", "--no-annotate", "--no-header"]
    command += [f"--constraint={LOCK}", *options]
    done = subprocess.run(
      command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout

  base = {name for name, _ in blocks(resolve())}
  parts = {name: [BASE] for name in base}
  for extra in extras_of((ROOT / "setup.py").read_text("utf-8")):
    for name, _ in blocks(resolve(f"--extra={extra}")):
      if name not in base:
        parts.setdefault(name, []).append(extra)
  for name in BUILD_REQUIRES:
    parts[name].append(BUILD)
  lines = ["# Written by scripts/lock.sh; read by scripts/locked.py.\n"]
  for name, block in blocks(resolve("--all-extras", "--generate-hashes")):
    lines += [block, _COMMENT, " ".join(parts[name]), "\n"]
  HASHES.write_text("".join(lines), "utf-8")


def main() -> int:
  """Prints requirements, or writes the file that holds them."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("parts", nargs="?", default=BASE, help="base,EXTRA,...")
  parser.add_argument("--write", metavar="UV")
  arguments = parser.parse_args()
  if arguments.write:
    write(arguments.write)
    return 0
  parts = [name for name in arguments.parts.split(",") if name]
  try:
    print(select(HASHES.read_text("utf-8"), parts), end="")
  except ValueError as error:
    print(error, file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  sys.exit(main())
