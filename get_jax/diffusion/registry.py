"""Making a process or a sampler from a name and settings of a config."""

import dataclasses
import difflib

from get_jax.errors import UsageError


def build(kind: str, classes: dict[str, type], name: str, /, *args, **settings):
  """Makes `classes[name](*args, **settings)`, or says what is misspelt.

  Args:
    kind: the word for what is made, for the message ("sampler").
    classes: frozen dataclasses by name.
    name: which of them.
    *args: leading positional fields, which no setting may give.
    **settings: the other fields.

  Raises:
    UsageError: on an unknown name or setting, with the nearest known one.
  """
  if name not in classes:
    raise UsageError(f"unknown {kind} {name!r}: {_nearest(name, classes)}")
  cls = classes[name]
  fields = [f.name for f in dataclasses.fields(cls) if f.init][len(args) :]
  for key in settings:
    if key not in fields:
      raise UsageError(
        f"the {kind} {name!r} has no setting {key!r}: {_nearest(key, fields)}"
      )
  return cls(*args, **settings)


def check_choice(owner: str, field: str, value, choices) -> None:
  """Raises a UsageError unless `value` is one of `choices`."""
  if value not in choices:
    raise UsageError(
      f"{owner}: {field} is {value!r}: {_nearest(value, choices)}"
    )


def _nearest(word, choices) -> str:
  """Says "did you mean" where a choice is near, and the choices else."""
  choices = sorted(map(str, choices))
  near = difflib.get_close_matches(str(word), choices, n=1)
  if near:
    return f"did you mean {near[0]!r}?"
  return "expected one of " + ", ".join(choices)
