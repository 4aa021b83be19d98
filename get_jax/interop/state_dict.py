"""Selects the weights of a network from the contents of a checkpoint file."""

from typing import Any

import numpy as np
from flax import traverse_util

from get_jax.errors import UsageError
from get_jax.interop.formats.edm_pickle import ModuleState
from get_jax.interop.formats.safe_pickle import quote

# A training checkpoint holds several sets of weights; the EMA is preferred.
_KEYS = ("ema", "model_ema", "ema_params", "model", "state_dict", "params")
_MAX_DEPTH = 3  # such as {"state_dict": {"ema": {...}}}
_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")


def extract_state_dict(checkpoint: Any) -> dict[str, np.ndarray]:
  """Returns the tensors of a network, by official name.

  From a training checkpoint, the exponential moving average of the weights is
  taken, and the state of the optimizer is dropped. The names of a tree of Flax
  are paths: "net/blocks_0/kernel". Prefixes that data-parallel
  training (`module.`) and compilation (`_orig_mod.`) add to every name are
  removed.

  Args:
    checkpoint: the result of `read_checkpoint`.

  Raises:
    UsageError: the checkpoint holds no set of named tensors.
  """
  node = checkpoint
  for _ in range(_MAX_DEPTH):
    if isinstance(node, ModuleState):
      return node.tensors
    children = node if isinstance(node, dict) else {}
    candidates = [
      children[key]
      for key in _KEYS
      if isinstance(children.get(key), dict | ModuleState)
    ]
    node = candidates[0] if candidates else node
  if isinstance(node, dict) and _is_tree(node):
    node = traverse_util.flatten_dict(node, sep="/")
  if not _is_state_dict(node):
    contents = type(node).__name__
    if isinstance(node, dict):
      keys = [quote(str(key)) for key in list(node)[:10]]
      contents = ", ".join(keys)
    raise UsageError(
      f"the checkpoint holds {contents or 'nothing'}; expected tensors by "
      f"name, at the top level or under one of: {', '.join(_KEYS)}"
    )
  for prefix in _PREFIXES:
    if all(name.startswith(prefix) for name in node):
      node = {name.removeprefix(prefix): v for name, v in node.items()}
  return node


def _is_tree(value: Any, max_depth: int = 16) -> bool:
  """Returns whether a value is a tree of Flax, arrays in dicts of dicts."""
  if not isinstance(value, dict):
    return isinstance(value, np.ndarray)
  return max_depth > 0 and all(
    isinstance(key, str) and _is_tree(child, max_depth - 1)
    for key, child in value.items()
  )


def _is_state_dict(value: Any) -> bool:
  return (
    isinstance(value, dict)
    and bool(value)
    and all(isinstance(k, str) for k in value)
    and all(isinstance(v, np.ndarray) for v in value.values())
  )
