"""What a reader of files is, for the trials of `tests.faults.mutate`."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any

Folder = pathlib.Path


@dataclasses.dataclass(frozen=True)
class Reader:
  """A reader of files.

  Attributes:
    write: writes good files into an empty folder.
    read: reads them.
    needs: package without which there is nothing to read.
  """

  write: Callable[[Folder], Any]
  read: Callable[[Folder], Any]
  needs: str = ""

  @property
  def is_installed(self):
    """Whether what it needs is installed."""
    return not self.needs or importlib.util.find_spec(self.needs) is not None


def file(name: str, content: bytes) -> Callable[[Folder], Any]:
  """Returns a function that writes one file into a folder."""
  return lambda folder: (folder / name).write_bytes(content)
