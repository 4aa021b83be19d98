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


def reason(error: BaseException) -> str:
  """Returns the text of another library's error as a part of a sentence.

  It may quote a file: it is one line of at most 200 characters.
  """
  text = " ".join(str(error).split()) or type(error).__name__
  return text if len(text) <= 200 else f"{text[:200]}..."


def printable(name: object) -> str:
  """Returns a name from a file for use in a message: one line, limited."""
  text = repr(str(name))[1:-1]
  return text if len(text) <= 80 else f"{text[:80]}..."


def shorten(value: object, length: int = 80) -> str:
  """Returns a value from a file for use in a message: one line, limited.

  Args:
    value: text, of which `repr` is shown, or any plain value.
    length: characters of the text that are kept.
  """
  try:
    text = repr(value)
  except (ValueError, RecursionError):  # an integer of many digits; nesting
    return f"of the type {type(value).__name__}"
  return text if len(text) <= length else f"{text[:length]}..."
