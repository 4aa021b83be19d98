"""Recognises errors of a disk: full, read-only, failing, or gone."""

import errno
import os
import pathlib
import re
from collections.abc import Iterator

# TensorStore has the number of an error in its message.
_NUMBER = re.compile(r"\[os_error_code='(\d+)'")
_FILE = re.compile(r"\"(/[^\"]+)\"")
_DISK_ERRORS = frozenset(
  {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE}
)


def describe_disk_error(error: BaseException) -> str | None:
  """Returns what is wrong with a disk if that has caused an error.

  Args:
    error: any exception, such as one of Python, Orbax or TensorStore.

  Returns:
    A phrase such as "No space left on device"; None for other errors.
  """
  for cause in _causes(error):
    if isinstance(cause, OSError):
      number, name = cause.errno, cause.filename
    elif match := _NUMBER.search(str(cause)):
      number = int(match[1])
      file = _FILE.search(str(cause))
      name = file[1] if file else None
    else:
      continue
    where = f" ({os.fsdecode(name)})" if isinstance(name, str | bytes) else ""
    if number in _DISK_ERRORS:
      return f"{os.strerror(number)}{where}"
    # As the cause of another error, an absent file is usually no fault.
    if number == errno.ENOENT and name is not None and cause is error:
      folder = pathlib.Path(os.fsdecode(name)).parent
      if not folder.exists():
        return f"{folder} does not exist any more"
  return None


def _causes(error: BaseException) -> Iterator[BaseException]:
  """Yields an error and those that it was raised from."""
  seen: list[BaseException] = []
  pending: list[BaseException | None] = [error]
  while pending:
    cause = pending.pop()
    if cause is None or cause in seen:
      continue
    seen.append(cause)
    yield cause
    pending.append(cause.__cause__)
    if not cause.__suppress_context__:
      pending.append(cause.__context__)
    if isinstance(cause, BaseExceptionGroup):
      pending += cause.exceptions
