"""Reads pickles as data, without importing or calling what they name.

A pickle is a program for a small stack machine. Python's `pickle` lets this
program import any global name and call it. Here `pickletools` disassembles the
program, and only opcodes that describe data are executed. A global name is
never imported: it is looked up in a table given by the caller, and a name that
is not in the table is an error.
"""

import dataclasses
import mmap
import pickletools
import types
from collections.abc import Callable, Mapping
from typing import IO, Any, cast

# A training checkpoint of the largest official model has about 100,000.
MAX_OPCODES = 2_000_000


class RejectedFileError(ValueError):
  """Error raised for a file that is unsafe or not in a supported format.

  The message does not name the file; `read_checkpoint` adds the path.
  """


def quote(text: str) -> str:
  """Returns text from a file for use in a message: quoted, escaped, limited.

  Args:
    text: any text; only the first 80 characters are kept.
  """
  return repr(text if len(text) <= 80 else f"{text[:80]}...")


# Readable, seekable binary streams from which a pickle is read.
Stream = IO[bytes] | mmap.mmap

# Replacements of global names by functions of this library. None allows a name
# as a value that cannot be called.
AllowedGlobals = Mapping[str, Callable[..., Any] | None]


@dataclasses.dataclass(frozen=True)
class GlobalName:
  """A global name in a pickle and its replacement.

  Attributes:
    path: the dotted name, such as `torch.FloatStorage`.
    replacement: the function of this library that is called instead, or None
      for a name that cannot be called.
  """

  path: str
  replacement: Callable[..., Any] | None


@dataclasses.dataclass(eq=False)
class OpaqueObject:
  """An object of an unavailable class, as its class name and its state."""

  class_name: str
  state: Any = None


def read_pickle(
  stream: Stream,
  allowed_globals: AllowedGlobals,
  persistent_load: Callable[[Any], Any] | None = None,
  max_opcodes: int = MAX_OPCODES,
) -> Any:
  """Reads one pickle and leaves the stream at the end of the pickle.

  Args:
    stream: a stream at the beginning of the pickle.
    allowed_globals: replacements of the global names that the pickle may use: a
      function of this library, or None if the name itself is the value.
    persistent_load: returns the object for a persistent id (PyTorch's reference
      to a storage). If None, persistent ids are rejected.
    max_opcodes: the largest accepted number of opcodes.

  Returns:
    The object, made of dict, list, tuple, set, str, bytes, int, float, bool,
    None, `GlobalName` and the results of `allowed_globals` and
    `persistent_load`.

  Raises:
    RejectedFileError: the pickle uses an operation that data does not need.
    ValueError, IndexError, KeyError, TypeError: the pickle is damaged.
  """
  machine = _Machine(allowed_globals, persistent_load)
  # `genops` also accepts mmap objects, which its annotation omits.
  opcodes = pickletools.genops(cast(IO[bytes], stream))
  for count, (opcode, argument, _) in enumerate(opcodes):
    if count == max_opcodes:
      raise RejectedFileError(f"its pickle has more than {max_opcodes} opcodes")
    if opcode.name in _LITERALS:
      machine.stack.append(argument)
    elif opcode.name in _OPCODES:
      _OPCODES[opcode.name](machine, argument)
    else:
      raise RejectedFileError(
        f"its pickle uses the opcode {opcode.name}, which no tensor file needs"
      )
  if machine.marked or len(machine.stack) != 1:
    raise RejectedFileError("its pickle ends before its object is complete")
  return machine.stack.pop()


class _Machine:
  """State of the machine: the stack, the stacks below marks, and the memo."""

  def __init__(
    self,
    allowed_globals: AllowedGlobals,
    persistent_load: Callable[[Any], Any] | None,
  ):
    self.allowed_globals = allowed_globals
    self.persistent_load = persistent_load
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
    # MEMOIZE uses the next index; BINPUT and LONG_BINPUT give the index.
    self.memo[len(self.memo) if index is None else index] = self.stack[-1]

  def push_global(self, path: str):
    if path not in self.allowed_globals:
      raise RejectedFileError(
        f"its pickle requests the global {quote(path)}, which is not among the "
        "names that checkpoints of this format need"
      )
    self.stack.append(GlobalName(path, self.allowed_globals[path]))

  def stack_global(self, _):
    name, module = self.stack.pop(), self.stack.pop()
    self.push_global(f"{module}.{name}")

  def call(self, _):
    arguments, name = self.stack.pop(), self.stack.pop()
    function = name.replacement if isinstance(name, GlobalName) else None
    if function is None or not isinstance(arguments, tuple):
      raise RejectedFileError(
        "its pickle calls something that is not a known name"
      )
    self.stack.append(function(*arguments))

  def build(self, _):
    state, target = self.stack.pop(), self.stack[-1]
    if isinstance(target, OpaqueObject):
      target.state = state
    elif isinstance(target, types.SimpleNamespace) and _has_string_keys(state):
      vars(target).update(state)
    elif isinstance(target, dict) and set(state) <= {"_metadata"}:
      pass  # version numbers that PyTorch stores with a state dict
    else:
      raise RejectedFileError(
        "its pickle sets attributes of an object that does not allow it"
      )

  def persistent_id(self, _):
    if self.persistent_load is None:
      raise RejectedFileError(
        "its pickle refers to storages outside the pickle"
      )
    self.stack.append(self.persistent_load(self.stack.pop()))

  def append(self, items: list[Any]):
    self._target(list).extend(items)

  def set_items(self, items: list[Any]):
    if len(items) % 2:
      raise RejectedFileError("its pickle has a key without a value")
    target = self._target(dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
      target[_checked_key(key)] = value

  def add_items(self, items: list[Any]):
    self._target(set).update(_checked_key(item) for item in items)

  def _target(self, container: type):
    if not isinstance(self.stack[-1], container):
      raise RejectedFileError(
        f"its pickle adds items to an object that is not a {container.__name__}"
      )
    return self.stack[-1]

  def pop_last(self, count: int) -> list[Any]:
    if len(self.stack) < count:
      raise RejectedFileError(
        "its pickle takes more items from the stack than it has"
      )
    items = self.stack[len(self.stack) - count :]
    del self.stack[len(self.stack) - count :]
    return items


def _has_string_keys(state: Any) -> bool:
  return isinstance(state, dict) and all(isinstance(k, str) for k in state)


def _checked_key(key: Any):
  # Hashing nested tuples that share elements takes exponential time.
  if key is not None and not isinstance(key, str | int | float):
    raise RejectedFileError(
      "its pickle has a key that is neither a string nor a number"
    )
  return key


def _push(create: Callable[[], Any]):
  return lambda machine, _: machine.stack.append(create())


def _tuple(count: int):
  return lambda machine, _: machine.stack.append(tuple(machine.pop_last(count)))


_LITERALS = frozenset(
  "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE "
  "BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BINSTRING "
  "SHORT_BINSTRING".split()
)

_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
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
  "APPEND": lambda m, _: m.append(m.pop_last(1)),
  "APPENDS": lambda m, _: m.append(m.pop_marked()),
  "SETITEM": lambda m, _: m.set_items(m.pop_last(2)),
  "SETITEMS": lambda m, _: m.set_items(m.pop_marked()),
  "ADDITEMS": lambda m, _: m.add_items(m.pop_marked()),
  "MEMOIZE": _Machine.memoize,
  "BINPUT": _Machine.memoize,
  "LONG_BINPUT": _Machine.memoize,
  "BINGET": lambda m, index: m.stack.append(m.memo[index]),
  "LONG_BINGET": lambda m, index: m.stack.append(m.memo[index]),
  "GLOBAL": lambda m, path: m.push_global(path.replace(" ", ".", 1)),
  "STACK_GLOBAL": _Machine.stack_global,
  "REDUCE": _Machine.call,
  "NEWOBJ": _Machine.call,
  "BUILD": _Machine.build,
  "BINPERSID": _Machine.persistent_id,
}
