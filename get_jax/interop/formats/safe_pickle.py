"""Pickles read as data: an interpreter that has no way to call anything.

A pickle is a program for a small stack machine. Python's own `pickle` lets
that program import any name and call it. Here the program is taken apart by
`pickletools` and only the instructions that describe data are followed; a
name from another package is never imported, it is looked up in a table of
meanings given by the caller, and a name that is not there ends the reading.
"""

import dataclasses
import pickletools
import types
from collections.abc import Callable, Mapping
from typing import Any, Protocol

# A training checkpoint of the largest official model takes about 100,000.
MAX_INSTRUCTIONS = 2_000_000


class Refusal(ValueError):
  """Why a file is not read; the reader of the file adds the file's name."""


def shown(text: str) -> str:
  """Text of a file as a message can show it: quoted, escaped, not too long."""
  return repr(text if len(text) <= 80 else f"{text[:80]}...")


class Stream(Protocol):
  """What a pickle is read from: `io.BytesIO`, `mmap.mmap`, a file."""

  def read(self, size: int, /) -> bytes: ...  # noqa: D102
  def readline(self) -> bytes: ...  # noqa: D102
  def tell(self) -> int: ...  # noqa: D102


@dataclasses.dataclass(frozen=True)
class Name:
  """A name that the pickle mentions, with what stands for it here.

  Attributes:
    path: the dotted name, as `torch.FloatStorage`.
    make: the function of this library that is called in its place, or None
      for a name that may only be mentioned.
  """

  path: str
  make: Callable[..., Any] | None


@dataclasses.dataclass(eq=False)
class Record:
  """An object of a foreign class, reduced to its class name and its state."""

  type: str
  state: Any = None


def read_pickle(
  stream: Stream,
  meanings: Mapping[str, Callable[..., Any] | None],
  persistent: Callable[[Any], Any] | None = None,
  limit: int = MAX_INSTRUCTIONS,
) -> Any:
  """Reads one pickle from the stream and leaves the stream behind it.

  Args:
    stream: where the pickle begins.
    meanings: what each name that the pickle may mention stands for: a function
      of ours, or None where the name itself is the value.
    persistent: turns a persistent id (torch's reference to a storage) into an
      object; None refuses such ids.
    limit: the largest number of instructions.

  Returns:
    The object, built of dict, list, tuple, set, str, bytes, int, float, bool,
    None, `Name` and what `meanings` and `persistent` return.

  Raises:
    Refusal: the pickle does something that no data needs.
    ValueError, IndexError, KeyError, TypeError: the pickle is damaged.
  """
  machine = _Machine(meanings, persistent)
  for count, (instruction, argument, _) in enumerate(
    pickletools.genops(stream)
  ):
    if count == limit:
      raise Refusal(f"its pickle has more than {limit} instructions")
    if instruction.name in _LITERALS:
      machine.stack.append(argument)
    elif instruction.name in _INSTRUCTIONS:
      _INSTRUCTIONS[instruction.name](machine, argument)
    else:
      raise Refusal(
        f"its pickle uses the instruction {instruction.name}, which no "
        "tensor file needs"
      )
  if machine.marked or len(machine.stack) != 1:
    raise Refusal("its pickle ends before its object is complete")
  return machine.stack.pop()


class _Machine:
  """The stack, the marked stacks below it, and the memo."""

  def __init__(self, meanings, persistent):
    self.meanings = meanings
    self.persistent = persistent
    self.stack: list[Any] = []
    self.marked: list[list[Any]] = []
    self.memo: dict[int, Any] = {}

  def pop_marked(self) -> list[Any]:
    items = self.stack
    self.stack = self.marked.pop()
    return items

  def marked_tuple(self, _):
    items = tuple(self.pop_marked())
    self.stack.append(items)

  def mark(self, _):
    self.marked.append(self.stack)
    self.stack = []

  def memoize(self, index):
    # MEMOIZE counts; BINPUT and LONG_BINPUT give the index.
    self.memo[len(self.memo) if index is None else index] = self.stack[-1]

  def name(self, path: str):
    if path not in self.meanings:
      raise Refusal(
        f"its pickle asks for {shown(path)}, which is not among the names "
        "that a checkpoint of this kind needs"
      )
    self.stack.append(Name(path, self.meanings[path]))

  def stack_global(self, _):
    name, module = self.stack.pop(), self.stack.pop()
    self.name(f"{module}.{name}")

  def call(self, _):
    arguments, name = self.stack.pop(), self.stack.pop()
    callable_name = isinstance(name, Name) and name.make is not None
    if not callable_name or not isinstance(arguments, tuple):
      raise Refusal("its pickle calls something that is not a known name")
    self.stack.append(name.make(*arguments))

  def build(self, _):
    state, target = self.stack.pop(), self.stack[-1]
    if isinstance(target, Record):
      target.state = state
    elif isinstance(target, types.SimpleNamespace) and _has_names(state):
      vars(target).update(state)
    elif isinstance(target, dict) and set(state) <= {"_metadata"}:
      pass  # the version numbers that torch keeps beside a state dict
    else:
      raise Refusal("its pickle sets attributes of an object that has none")

  def persistent_id(self, _):
    if self.persistent is None:
      raise Refusal("its pickle refers to storages outside the pickle")
    self.stack.append(self.persistent(self.stack.pop()))

  def append(self, items: list[Any]):
    self._target(list).extend(items)

  def set_items(self, items: list[Any]):
    if len(items) % 2:
      raise Refusal("its pickle has a key without a value")
    target = self._target(dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
      target[_plain(key)] = value

  def add_items(self, items: list[Any]):
    self._target(set).update(_plain(item) for item in items)

  def _target(self, kind: type):
    if not isinstance(self.stack[-1], kind):
      raise Refusal(f"its pickle fills a {kind.__name__} that is none")
    return self.stack[-1]

  def last(self, count: int) -> list[Any]:
    if len(self.stack) < count:
      raise Refusal("its pickle takes more from the stack than is there")
    items = self.stack[len(self.stack) - count :]
    del self.stack[len(self.stack) - count :]
    return items


def _has_names(state: Any) -> bool:
  return isinstance(state, dict) and all(isinstance(k, str) for k in state)


def _plain(key: Any):
  # The hash of nested tuples that share their parts takes exponential time.
  if key is not None and not isinstance(key, str | int | float):
    raise Refusal("its pickle has a key that is neither text nor number")
  return key


def _push(make: Callable[[], Any]):
  return lambda machine, _: machine.stack.append(make())


def _tuple(count: int):
  return lambda machine, _: machine.stack.append(tuple(machine.last(count)))


_LITERALS = frozenset(
  "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE "
  "BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BINSTRING "
  "SHORT_BINSTRING".split()
)

_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
  "PROTO": lambda machine, _: None,
  "FRAME": lambda machine, _: None,
  "STOP": lambda machine, _: None,
  "NONE": _push(lambda: None),
  "NEWTRUE": _push(lambda: True),
  "NEWFALSE": _push(lambda: False),
  "EMPTY_DICT": _push(dict),
  "EMPTY_LIST": _push(list),
  "EMPTY_TUPLE": _push(tuple),
  "EMPTY_SET": _push(set),
  "TUPLE1": _tuple(1),
  "TUPLE2": _tuple(2),
  "TUPLE3": _tuple(3),
  "MARK": _Machine.mark,
  "TUPLE": _Machine.marked_tuple,
  "APPEND": lambda m, _: m.append(m.last(1)),
  "APPENDS": lambda m, _: m.append(m.pop_marked()),
  "SETITEM": lambda m, _: m.set_items(m.last(2)),
  "SETITEMS": lambda m, _: m.set_items(m.pop_marked()),
  "ADDITEMS": lambda m, _: m.add_items(m.pop_marked()),
  "MEMOIZE": _Machine.memoize,
  "BINPUT": _Machine.memoize,
  "LONG_BINPUT": _Machine.memoize,
  "BINGET": lambda m, index: m.stack.append(m.memo[index]),
  "LONG_BINGET": lambda m, index: m.stack.append(m.memo[index]),
  "GLOBAL": lambda m, path: m.name(path.replace(" ", ".", 1)),
  "STACK_GLOBAL": _Machine.stack_global,
  "REDUCE": _Machine.call,
  "NEWOBJ": _Machine.call,
  "BUILD": _Machine.build,
  "BINPERSID": _Machine.persistent_id,
}
