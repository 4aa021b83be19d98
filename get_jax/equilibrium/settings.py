"""Solver and gradient from a nested config, strictly."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from get_jax.equilibrium.anderson import Anderson
from get_jax.equilibrium.broyden import Broyden
from get_jax.equilibrium.gradients import (
  Gradient,
  Implicit,
  JacobianFree,
  Phantom,
  Unrolled,
)
from get_jax.equilibrium.solvers import Simple, Solver
from get_jax.errors import UsageError

SOLVERS = {"simple": Simple, "anderson": Anderson, "broyden": Broyden}
GRADIENTS = {
  "unrolled": Unrolled,
  "phantom": Phantom,
  "implicit": Implicit,
  "jacobian_free": JacobianFree,
}
FAMILIES = {Solver: SOLVERS, Gradient: GRADIENTS}


@dataclasses.dataclass(frozen=True)
class Settings:
  """How an equilibrium is found and differentiated.

  Attributes:
    solver: the forward solver.
    gradient: the derivative.
  """

  solver: Solver = Simple(max_steps=6)  # noqa: RUF009
  gradient: Gradient = Unrolled()  # noqa: RUF009

  @classmethod
  def of(
    cls, config: Mapping[str, Any], where: str = "equilibrium"
  ) -> "Settings":
    """Reads a mapping, for example an ml_collections ConfigDict.

        solver = {"name": "anderson", "max_steps": 24, "tolerance": 1e-3}
        gradient = {"name": "implicit", "solver": {"name": "broyden"}}
        Settings.of({"solver": solver, "gradient": gradient})

    Args:
      config: "solver" and "gradient", each with a "name" and fields of the
        class of that name; what is left out keeps its default.
      where: what an error calls the mapping.

    Raises:
      UsageError: for an unknown name or key, a value of the wrong type, or
        one out of range.
    """
    return read(cls, config, where)


def read(kind: type, config: Mapping[str, Any], where: str) -> Any:
  """Makes the dataclass `kind` from a mapping."""
  fields = {f.name for f in dataclasses.fields(kind) if f.init}
  hints = typing.get_type_hints(kind)
  values = {}
  for key in config:
    if key not in fields:
      raise UsageError(
        f"{where} has no setting {key!r}; {nearest(key, fields)}."
      )
    values[key] = convert(config[key], hints[key], f"{where}.{key}")
  try:
    return kind(**values)
  except UsageError:
    raise
  except ValueError as error:
    raise UsageError(f"{where}: {error}") from error


def convert(value: Any, hint: Any, where: str) -> Any:
  """The value as its field wants it."""
  if hint in FAMILIES:
    return member(value, FAMILIES[hint], where)
  options = (
    typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
  )
  # True is an int to Python, and not to a reader.
  if isinstance(value, bool):
    if bool in options:
      return value
  elif isinstance(value, int) and float in options and int not in options:
    return float(value)
  else:
    for option in options:
      if option is Callable or typing.get_origin(option) is not None:
        if callable(value):
          return value
      elif isinstance(value, option):
        return value
  wanted = " or ".join(getattr(o, "__name__", str(o)) for o in options)
  raise UsageError(f"{where} is {value!r}; it must be {wanted}.")


def member(config: Any, family: dict[str, type], where: str) -> Any:
  """A member of a family of dataclasses, chosen by its "name"."""
  if isinstance(config, tuple(family.values())):
    return config
  # A ConfigDict has a mapping's methods without being one.
  if not hasattr(config, "keys") or "name" not in config:
    raise UsageError(
      f"{where} is {config!r}; it must be a mapping whose 'name' is one of "
      f"{', '.join(family)}."
    )
  rest = dict(config)
  name = rest.pop("name")
  if name not in family:
    raise UsageError(f"{where}.name is {name!r}; {nearest(name, family)}.")
  return read(family[name], rest, where)


def nearest(word: Any, known: Any) -> str:
  """The known words, the most similar first."""
  close = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.5)
  listed = ", ".join(sorted(known)) or "none"
  if close:
    return f"the nearest is {close[0]!r}, and all are {listed}"
  return f"known are {listed}"
