"""Builds processes and samplers from a name and settings of a config."""

import dataclasses
import difflib
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from get_jax.errors import UsageError


def build(
  kind: str, classes: Mapping[str, type], name: str, /, *args, **settings
) -> Any:
  """Returns `classes[name](*args, **settings)`, with checks of the names.

  Args:
    kind: what is built, for error messages ("sampler").
    classes: frozen dataclasses by name.
    name: key of the class.
    *args: values of the leading fields, which settings must not contain.
    **settings: values of the other fields.

  Raises:
    UsageError: the name or a setting is unknown; the message contains the
      nearest known one.
  """
  if name not in classes:
    raise UsageError(f"unknown {kind} {name!r}: {_suggest(name, classes)}")
  cls = classes[name]
  fields = [f.name for f in dataclasses.fields(cls) if f.init][len(args) :]
  for key in settings:
    if key not in fields:
      raise UsageError(
        f"the {kind} {name!r} has no setting {key!r}: {_suggest(key, fields)}"
      )
  return cls(*args, **settings)


def check_choice(
  owner: str, field: str, value: Any, choices: Collection
) -> None:
  """Raises a UsageError unless `value` is one of `choices`.

  Args:
    owner: what has the field, for the message ("process").
    field: name of the field.
    value: its value.
    choices: the valid values.
  """
  if value not in choices:
    raise UsageError(
      f"{owner}: {field} is {value!r}: {_suggest(value, choices)}"
    )


def check_interval(
  owner: str, field: str, value: float, low: float, high: float = math.inf
) -> None:
  """Raises a UsageError unless low < value < high.

  Args:
    owner: what has the field, for the message ("process").
    field: name of the field.
    value: its value.
    low: lower bound.
    high: upper bound.
  """
  if not low < value < high:
    limits = f"above {low:g}"
    if high < math.inf:
      limits += f" and below {high:g}"
    raise UsageError(
      f"{owner}: {field} is {value!r}: expected a number {limits}"
    )


def _suggest(word: Any, choices: Iterable) -> str:
  """Returns "did you mean" with a similar choice, or lists all choices."""
  words = sorted(map(str, choices))
  near = difflib.get_close_matches(str(word), words, n=1)
  if near:
    return f"did you mean {near[0]!r}?"
  return "expected one of " + ", ".join(words)
