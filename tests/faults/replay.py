"""The states of a folder after each call that changed it, from a recorded log.

A process that is killed leaves what its calls have done so far; the operating
system keeps it. One recorded run thus has every state that a kill can leave:
before and after each call, and with a part of the data of a write.
"""

import dataclasses
import os
import pathlib
import struct

_HEAD = struct.Struct("<iiqii")
_CREATE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_TRUNC


@dataclasses.dataclass(frozen=True)
class Call:
  """A call that changed the folder.

  Attributes:
    kind: letter of the call, as in shim.c.
    file: number of the open file; -1 for calls that take paths.
    value: flags, offset, size or mode.
    first: path or data.
    second: second path or the mode of a new file.
  """

  kind: str
  file: int
  value: int
  first: bytes
  second: bytes

  @property
  def counts(self) -> bool:
    """Whether the call is one of the numbered ones."""
    return self.kind != "c"


def read_log(log: pathlib.Path) -> list[Call]:
  """Returns the calls of a log, in order."""
  content, position, calls = log.read_bytes(), 0, []
  while position < len(content):
    kind, file, value, n, m = _HEAD.unpack_from(content, position)
    start = position + _HEAD.size
    position = start + n + m
    data = content[start : start + n], content[start + n : position]
    calls.append(Call(chr(kind), file, value, *data))
  return calls


class Replay:
  """Repeats the calls of a log on another folder.

  Args:
    source: folder of the recorded run.
    target: folder in which the calls are repeated, as the run found it.
  """

  def __init__(self, source: pathlib.Path, target: pathlib.Path):
    self._source, self._target = os.fsencode(source), os.fsencode(target)
    self._files: dict[int, int] = {}

  def __enter__(self):
    return self

  def __exit__(self, *_):
    for file in self._files.values():
      os.close(file)
    self._files.clear()

  def apply(self, call: Call, part: float = 1.0) -> None:
    """Repeats a call, or a write with only the first part of its data."""
    first = self._path(call.first)
    if call.kind == "o":
      (mode,) = struct.unpack("<I", call.second)
      flags = os.O_RDWR | (call.value & _CREATE_FLAGS)
      self._close(call.file)
      self._files[call.file] = os.open(first, flags, mode or 0o644)
    elif call.kind == "w":
      data = call.first[: int(len(call.first) * part)]
      os.pwrite(self._files[call.file], data, call.value)
    elif call.kind == "t":
      os.ftruncate(self._files[call.file], call.value)
    elif call.kind == "c":
      self._close(call.file)
    elif call.kind == "r":
      os.rename(first, self._path(call.second))
    elif call.kind == "l":
      os.link(first, self._path(call.second))
    elif call.kind == "m":
      os.mkdir(first, call.value)
    elif call.kind == "u":
      os.unlink(first)
    elif call.kind == "d":
      os.rmdir(first)

  def _close(self, file: int) -> None:
    if file in self._files:
      os.close(self._files.pop(file))

  def _path(self, path: bytes) -> bytes:
    return self._target + path.removeprefix(self._source)


def content_of(folder: pathlib.Path) -> dict[str, bytes | None]:
  """Returns the names in a folder, with the contents of files."""
  return {
    str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
    for path in folder.rglob("*")
  }
