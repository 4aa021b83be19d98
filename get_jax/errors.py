"""The error for invalid user input, and how its sentences suggest words."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
  """Error raised for invalid user input.

  Its message is one sentence: what was found, where, and what was expected.
  `main.py` prints it without a traceback and exits with code 2.
  """


def suggest(word: object, known: Iterable[str]) -> str:
  """Returns "did you mean ...?", or all known words where none is similar.

  Args:
    word: what was found.
    known: what was expected, in the order to list it.
  """
  words = list(known)
  similar = difflib.get_close_matches(str(word), words, n=1)
  if similar:
    return f"did you mean {similar[0]!r}?"
  return f"expected one of: {', '.join(words)}" if words else "expected none"
