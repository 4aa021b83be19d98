"""The fenced blocks of README.md, CONTRIBUTING.md and docs/*.md.

A comment before a block changes how the tests treat it:

  <!-- not run: needs a TPU -->     the block is not run, for this reason
  <!-- run first: CODE -->          Python that runs before the block
"""

import dataclasses
import re
import shlex

from tests.helpers import ROOT

PAGES = [
  path.relative_to(ROOT).as_posix()
  for path in (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
  )
]
BLOCK = re.compile(
  r"(?:^<!-- (?P<kind>not run|run first):\s*(?P<note>(?:(?!-->).)*?)\s*-->\n+)?"
  r"^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
  re.DOTALL | re.MULTILINE,
)
# Words of the shell before a command, and commands without a check.
KEYWORDS = ("until", "while", "do", "then", "if", "else", "srun")
# What commands of the pages leave to the reader.
PLACEHOLDERS = {
  "configs/NAME.py": "configs/dit_digits.py",
  "configs/CONFIG.py": "configs/dit_digits.py",
  "$BUCKET": "my-bucket",
  "$i": "0",
}


@dataclasses.dataclass(frozen=True)
class Block:
  """A fenced block.

  Attributes:
    page: path of its file.
    line: number of its first line.
    language: what follows the backticks.
    code: its content.
    reason: why it is not run; empty if it is.
    setup: hidden code that runs before it.
  """

  page: str
  line: int
  language: str
  code: str
  reason: str
  setup: str

  def __str__(self) -> str:
    return f"{self.page}:{self.line}"


def blocks(page: str, *languages: str) -> list[Block]:
  """Returns the blocks of a page; those of some languages, or all."""
  text = (ROOT / page).read_text("utf-8")
  found = []
  for match in BLOCK.finditer(text):
    if languages and match["language"] not in languages:
      continue
    note = {match["kind"]: match["note"]}
    found.append(
      Block(
        page,
        text.count("\n", 0, match.start("code")) + 1,
        match["language"],
        match["code"],
        note.get("not run", ""),
        note.get("run first", ""),
      )
    )
  return found


def commands(code: str) -> list[list[str]]:
  """Returns the commands of a shell script, as words without redirections."""
  for placeholder, value in PLACEHOLDERS.items():
    code = code.replace(placeholder, value)
  found: list[list[str]] = []
  for line in code.replace("\\\n", " ").splitlines():
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    found.append([])
    for word in lexer:
      if set(word) <= set(";&|"):
        found.append([])
      else:
        found[-1].append(word)
  return [words for words in map(_without_prefix, found) if words]


def _without_prefix(words: list[str]) -> list[str]:
  """Drops keywords, variables and the options of srun before a command."""
  while words and (words[0] in KEYWORDS or re.match(r"--|\w+=", words[0])):
    words = words[1:]
  return words


def arguments(words: list[str]) -> list[str] | None:
  """Returns the arguments of main.py or get_jax, None for other commands."""
  for start in (["python", "main.py"], ["get_jax"]):
    if words[: len(start)] == start:
      return words[len(start) :]
  # Its arguments are those of main.py.
  if words[:2] == ["bash", "scripts/tpu_run.sh"]:
    return words[2:]
  return None
