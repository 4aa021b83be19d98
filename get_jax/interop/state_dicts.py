"""Finding the tensors to use in what a checkpoint file holds."""

from typing import Any

import numpy as np

from get_jax.errors import UsageError
from get_jax.interop.formats.edm_pickle import Module
from get_jax.interop.formats.safe_pickle import shown

# A training checkpoint has several sets of weights: the average comes first.
_KEYS = ("ema", "model_ema", "model", "state_dict")
_MAX_DEPTH = 3  # as {"state_dict": {"ema": {...}}}
_PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")


def tensors_of(checkpoint: Any) -> dict[str, np.ndarray]:
  """The tensors of a network, by official name.

  Of a training checkpoint the moving average is taken and the optimiser left;
  prefixes that data-parallel training and compilation put before every name
  are removed.

  Args:
    checkpoint: of `read_checkpoint`.

  Raises:
    UsageError: there is no set of tensors in it.
  """
  found = checkpoint
  for _ in range(_MAX_DEPTH):
    if isinstance(found, Module):
      return found.tensors
    inner = found if isinstance(found, dict) else {}
    sets = [inner[k] for k in _KEYS if isinstance(inner.get(k), dict | Module)]
    found = sets[0] if sets else found
  if not _are_tensors(found):
    holds = type(found).__name__
    if isinstance(found, dict):
      holds = ", ".join(shown(str(key)) for key in list(found)[:10])
    raise UsageError(
      f"the checkpoint holds {holds or 'nothing'}; expected tensors by name, "
      f"alone or under one of: {', '.join(_KEYS)}"
    )
  for prefix in _PREFIXES:
    if all(name.startswith(prefix) for name in found):
      found = {name.removeprefix(prefix): v for name, v in found.items()}
  return found


def _are_tensors(value: Any) -> bool:
  return (
    isinstance(value, dict)
    and bool(value)
    and all(isinstance(k, str) for k in value)
    and all(isinstance(v, np.ndarray) for v in value.values())
  )
