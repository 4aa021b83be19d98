"""What a config key may be, and the sentence where it is something else."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from get_jax.errors import UsageError, shorten, suggest


@dataclasses.dataclass(frozen=True)
class Range:
  """An interval of numbers; NaN is in none.

  Attributes:
    low: lower bound.
    high: upper bound.
    open_low: whether `low` itself is excluded.
    open_high: whether `high` itself is excluded.
  """

  low: float = -math.inf
  high: float = math.inf
  open_low: bool = False
  open_high: bool = True

  def __contains__(self, value: float) -> bool:
    above = value > self.low if self.open_low else value >= self.low
    below = value < self.high if self.open_high else value <= self.high
    return above and below

  def __str__(self) -> str:
    low, high = _number(self.low), _number(self.high)
    low = f"{'above' if self.open_low else 'of at least'} {low}"
    high = f"{'below' if self.open_high else 'at most'} {high}"
    if self.low == -math.inf and self.high == math.inf:
      return "that is finite"
    if self.low == -math.inf:
      return high
    return low if self.high == math.inf else f"{low} and {high}"


def _number(value: float) -> str:
  return str(int(value)) if value % 1 == 0 else f"{value:g}"


MAX_COUNTER = 2**31 - 1
FINITE = Range(open_low=True)
POSITIVE = Range(0, open_low=True)
NON_NEGATIVE = Range(0)
COUNT = Range(1)
FRACTION = Range(0, 1, open_high=False)
POSITIVE_FRACTION = Range(0, 1, open_low=True, open_high=False)
BELOW_ONE = Range(0, 1)


@dataclasses.dataclass(frozen=True)
class Key:
  """What a config key may be.

  Attributes:
    hint: the type, as in an annotation: `int`, `float | None`,
      `tuple[int, ...]`, `Literal["a", "b"]`. A float may be given as an integer
      and a tuple as a list; a boolean is no number.
    meaning: one sentence for the documentation.
    default: the value where an experiment does not set the key.
    range: of every number in the value; floats are finite by default.
    special: further values that are allowed, such as -1 for "the rest".
    required: whether every config has the key.
  """

  hint: Any
  meaning: str = ""
  default: Any = None
  range: Range | None = None
  special: tuple = ()
  required: bool = True

  def accepts(self, value: Any) -> bool:
    """Returns whether a value is allowed."""
    return not self.is_too_large(value) and self._is_in_range(value)

  def is_too_large(self, value: Any) -> bool:
    """Returns whether a counter does not fit in 32 bits, as those of JAX are.

    A range with an upper bound of its own may exceed them, as that of seeds.
    """
    if self.range is not None and self.range.high != math.inf:
      return False
    numbers = value if isinstance(value, list | tuple) else [value]
    return mentions_int(self.hint) and any(
      isinstance(n, int) and abs(n) > MAX_COUNTER for n in numbers
    )

  def _is_in_range(self, value: Any) -> bool:
    if any(type(value) is type(s) and value == s for s in self.special):
      return True
    return _matches(self.hint, value, self.range)

  def expected(self) -> str:
    """Returns the allowed values as a phrase."""
    phrase = _describe(self.hint, self.range)
    return " or ".join([phrase, *map(repr, self.special)])


Keys = Mapping[str, Key]


def check_keys(
  values: Mapping[str, Any],
  keys: Keys,
  prefix: str = "",
) -> None:
  """Checks the keys of one section and their values.

  Args:
    values: the section.
    keys: the keys that it may have.
    prefix: path of the section with a dot at its end, for messages.

  Raises:
    UsageError: a key is unknown or missing, or a value is not allowed.
  """
  for name in values:
    if name not in keys:
      raise UsageError(
        f"{prefix}{name} is unknown; {suggest(name, sorted(keys))}"
      )
  for name, key in keys.items():
    if key.required and name not in values:
      raise UsageError(f"{prefix}{name} is missing; expected {key.expected()}")
  for name, value in values.items():
    if keys[name].is_too_large(value):
      raise UsageError(
        f"{prefix}{name} is {shorten(value)}; expected at most {MAX_COUNTER}, "
        "because counters have 32 bits"
      )
    if not keys[name].accepts(value):
      raise UsageError(
        f"{prefix}{name} is {value!r}; expected {keys[name].expected()}"
      )


def mentions_int(hint: Any) -> bool:
  """Returns whether a type is, or has a part that is, that of integers."""
  return hint is int or any(map(mentions_int, typing.get_args(hint)))


def _matches(hint: Any, value: Any, limits: Range | None) -> bool:
  origin, arguments = typing.get_origin(hint), typing.get_args(hint)
  if origin in (types.UnionType, typing.Union):
    return any(_matches(option, value, limits) for option in arguments)
  if origin is typing.Literal:
    return any(type(value) is type(a) and value == a for a in arguments)
  if origin is tuple:
    if not isinstance(value, list | tuple):
      return False
    if arguments[-1] is Ellipsis:
      arguments = arguments[:1] * len(value)
    return len(value) == len(arguments) and all(
      _matches(a, v, limits) for a, v in zip(arguments, value, strict=True)
    )
  if hint is float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and value in (limits or FINITE)
  if hint is int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and (limits is None or value in limits)
  if hint is None or hint is types.NoneType:
    return value is None
  if hint is Any:
    return True
  return isinstance(value, origin or hint)


def _describe(hint: Any, limits: Range | None) -> str:
  origin, arguments = typing.get_origin(hint), typing.get_args(hint)
  if origin in (types.UnionType, typing.Union):
    return " or ".join(_describe(option, limits) for option in arguments)
  if origin is typing.Literal:
    return f"one of: {', '.join(map(repr, arguments))}"
  if origin is tuple:
    inner = _describe(arguments[0], limits)
    if arguments[-1] is Ellipsis:
      return f"a list, each element {inner}"
    return f"a list of {len(arguments)}, each element {inner}"
  if hint is float:
    return f"a number {limits or FINITE}"
  if hint is int:
    return f"an integer {limits}" if limits else "an integer"
  if hint is None or hint is types.NoneType:
    return "None"
  return {str: "a string", bool: "True or False"}.get(hint, "a path")
