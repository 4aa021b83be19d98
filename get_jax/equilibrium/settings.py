"""Builds a solver and a gradient method from a config, with strict checks."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

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
# Those of GET, as in its published code.
SOLVER = {"name": "simple", "tolerance": 1e-3}
GRADIENT = {"name": "unrolled"}
# Settings of how a gradient is computed.
COMPUTE = ("policy", "unroll")
FAMILIES = {Solver: SOLVERS, Gradient: GRADIENTS}


@dataclasses.dataclass(frozen=True)
class Settings:
  """The solver and the gradient method of an equilibrium layer.

  Attributes:
    solver: the forward solver.
    gradient: the gradient method.
  """

  solver: Solver = Simple(max_steps=6)  # noqa: RUF009
  gradient: Gradient = Unrolled()  # noqa: RUF009

  @classmethod
  def from_config(
    cls,
    config: Mapping[str, Any] | ml_collections.ConfigDict,
    where: str = "equilibrium",
  ) -> "Settings":
    """Builds the settings from a mapping, such as an ml_collections ConfigDict.

    Example:

        solver = {"name": "anderson", "max_steps": 24, "tolerance": 1e-3}
        gradient = {"name": "implicit", "solver": {"name": "broyden"}}
        Settings.from_config({"solver": solver, "gradient": gradient})

    Args:
      config: mapping with the keys "solver" and "gradient". Each value is a
        mapping with a "name" and fields of the class of that name. Missing
        keys keep their defaults.
      where: name of the mapping in error messages.

    Raises:
      UsageError: a name or key is unknown, or a value has the wrong type or
        is out of range.
    """
    return _from_mapping(cls, config, where)


def identifying_settings(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the settings by which results differ, to compare two configs.

  Solver and gradient are left out if they are those of GET, which older configs
  do not state.

  Args:
    config: as of `Settings.from_config`, of plain mappings.
  """
  settings = {
    key: {k: v for k, v in value.items() if k not in COMPUTE}
    if isinstance(value, Mapping)
    else value
    for key, value in config.items()
  }
  return {k: v for k, v in settings.items() if v not in (SOLVER, GRADIENT)}


def _from_mapping(
  cls: type, config: Mapping[str, Any] | ml_collections.ConfigDict, where: str
) -> Any:
  """Returns the dataclass `cls` with fields from a mapping."""
  fields = {f.name for f in dataclasses.fields(cls) if f.init}
  hints = typing.get_type_hints(cls)
  values = {}
  for key in config:
    if key not in fields:
      raise UsageError(
        f"{where} has no setting {key!r}; {_suggest(key, fields)}."
      )
    values[key] = _convert(config[key], hints[key], f"{where}.{key}")
  try:
    return cls(**values)
  except UsageError:
    raise
  except ValueError as error:
    raise UsageError(f"{where}: {error}") from error


def _convert(value: Any, hint: Any, where: str) -> Any:
  """Returns the value converted to the type of its field."""
  if hint in FAMILIES:
    return _choose(value, FAMILIES[hint], where)
  options = (
    typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
  )
  # bool is a subclass of int, but True is not accepted as a number.
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
  expected = " or ".join(getattr(o, "__name__", str(o)) for o in options)
  raise UsageError(f"{where} is {value!r}; expected {expected}.")


def _choose(config: Any, family: dict[str, type], where: str) -> Any:
  """Returns an instance of the class of a family that "name" selects."""
  if isinstance(config, tuple(family.values())):
    return config
  # A ConfigDict has the methods of a mapping but is not a `Mapping`.
  if not hasattr(config, "keys") or "name" not in config:
    raise UsageError(
      f"{where} is {config!r}; expected a mapping whose 'name' is one of "
      f"{', '.join(family)}."
    )
  rest = dict(config)
  name = rest.pop("name")
  if name not in family:
    raise UsageError(f"{where}.name is {name!r}; {_suggest(name, family)}.")
  return _from_mapping(family[name], rest, where)


def _suggest(word: Any, known: Any) -> str:
  """Returns a phrase with the most similar known word and all known words."""
  close = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.5)
  listed = ", ".join(sorted(known)) or "none"
  if close:
    return f"the nearest is {close[0]!r}, and all are {listed}"
  return f"known are {listed}"
