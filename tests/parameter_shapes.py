"""Keeps the shapes with which Flax compares parameters.

In each `apply`, Flax traces the initialisation of every parameter to check the
parameter's shape. This is an eighth of the time of tracing. Here initialisers
that are equal, with equal arguments, are traced once in a process.
"""

import functools
import types

import jax

_kept = {}


def keep_parameter_shapes():
  """Lets Flax trace equal initialisers once."""
  from flax.core import scope

  scope.jax = types.SimpleNamespace(**{**vars(jax), "eval_shape": _eval_shape})


def _eval_shape(function, *args):
  """`jax.eval_shape`, once for functions and arguments that are equal."""
  key = _content((function, args))
  try:
    hash(key)
  except TypeError:
    return jax.eval_shape(function, *args)
  if key not in _kept:
    _kept[key] = jax.eval_shape(function, *args)
  return _kept[key]


def _content(x):
  """Returns what determines the result of a function, hashable."""
  if isinstance(x, functools.partial):
    return _content((x.func, x.args, x.keywords))
  if isinstance(x, types.FunctionType):
    cells = [cell.cell_contents for cell in x.__closure__ or ()]
    return x.__code__, _content((cells, x.__defaults__, x.__kwdefaults__))
  if isinstance(x, dict):
    return tuple((key, _content(value)) for key, value in x.items())
  if isinstance(x, tuple | list):
    return tuple(map(_content, x))
  return x
