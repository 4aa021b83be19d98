"""The one exception that means: the user can mend this."""


class UsageError(ValueError):
  """Bad input: one sentence with what, where and what was expected.

  `main.py` prints the sentence without a traceback and exits with code 2.
  """
