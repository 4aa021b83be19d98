"""Adapts parameters to a network of another input size or number of classes.

What depends on the input size is resampled, tables of classes are selected or
start fresh, and named modules start fresh. All other parameters must have the
same shapes in both networks.

| parameters | of | at another input size |
| --- | --- | --- |
| `pos_table`, sine-cosine positions | DiT, DiffiT, GET, ViT | recomputed |
| `pos_embed`, learned positions | U-ViT | resampled; other tokens are kept |
| `position_bias`, `time_bias` | DiffiT | offsets are resampled, as in Swin |
| `enc_32x32_...`, names of levels | SongUNet, DhariwalUNet | renamed |

With another patch size, the layers that read and write patches can be resized:
the first as in FlexiViT (Beyer et al., 2023, section 3.4), so that its output
for an enlarged patch is that for the patch; the last by resizing its output.

The embedding of a scalar that the source lacks, such as the guidance scale,
starts with the output zero: the network computes the same as before.

Without a change of the input size and the classes, every array is the original
one, bit for bit.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util

from get_jax.errors import UsageError
from get_jax.models.adaptation_checks import (
  Misfit,
  check_classes,
  check_fields,
  check_params,
  check_reset,
  describe_misfits,
  is_in,
)
from get_jax.models.adaptation_rules import (
  LABEL_MODULES,
  Path,
  Rule,
  Rules,
  reset_rule,
  shapes,
)
from get_jax.models.base import ImageModel
from get_jax.models.parameters import abstract_inputs
from get_jax.nn.resampling import METHODS


def adapt_params(
  params: Any,
  source: ImageModel,
  target: ImageModel,
  *,
  classes: Sequence[int] = (),
  reset: Sequence[str] = (),
  positions: str = "bicubic",
  resize_patches: bool = False,
  key: jax.Array | None = None,
) -> dict[str, Any]:
  """Adapts the parameters of one network to another network of its family.

  Args:
    params: Parameters of `source`.
    source: The network that the parameters belong to.
    target: The network to adapt them to, with another input size, number of
      classes or reset modules.
    classes: For each class of the target, the class of the source whose row it
      gets, or -1 for a fresh row. If empty, all rows are kept where both
      networks have the same number of classes; else they start fresh. The row
      of the null class is kept if both networks have one.
    reset: Modules or parameters that start fresh, by path, such as
      "final_layer".
    positions: How learned positions are resampled, one of
      `get_jax.nn.resampling.METHODS`.
    resize_patches: Whether another patch size is allowed, to which the first
      and the last layer are resized.
    key: PRNG key of what starts fresh; None is key 0.

  Returns:
    The parameter tree of `target`, NumPy arrays.

  Raises:
    UsageError: The networks do not fit, or an option has an invalid value. The
      message names the parameters with both shapes.
  """
  rules = _plan(source, target, classes, reset, positions, resize_patches)
  flat = traverse_util.flatten_dict(params)
  check_params(flat, source)
  fresh = _fresh_params(
    target,
    [path for path, rule in rules.items() if rule.needs_fresh],
    jax.random.key(0) if key is None else key,
  )
  adapted = {
    path: rule.make(
      None if rule.source is None else np.asarray(flat[rule.source]),
      fresh.get(path),
    )
    for path, rule in rules.items()
  }
  return traverse_util.unflatten_dict(adapted)


def describe_adaptation(
  source: ImageModel,
  target: ImageModel,
  *,
  classes: Sequence[int] = (),
  reset: Sequence[str] = (),
  positions: str = "bicubic",
  resize_patches: bool = False,
) -> dict[str, str]:
  """Returns what `adapt_params` changes, by path; needs no parameters.

  For the arguments and errors see `adapt_params`.
  """
  rules = _plan(source, target, classes, reset, positions, resize_patches)
  changes = {"/".join(p): rule.change for p, rule in rules.items()}
  return {path: change for path, change in changes.items() if change}


def _plan(
  source: ImageModel,
  target: ImageModel,
  classes: Sequence[int],
  reset: Sequence[str],
  positions: str,
  resize_patches: bool,
) -> dict[Path, Rule]:
  """Returns a rule for each parameter of the target."""
  if not (isinstance(source, type(target)) or isinstance(target, type(source))):
    raise UsageError(
      f"the parameters are those of a {type(source).__name__}; expected those "
      f"of a {type(target).__name__}"
    )
  if positions not in METHODS:
    raise UsageError(
      f"init.positions is {positions!r}; expected one of: {', '.join(METHODS)}"
    )
  have, want = shapes(source), shapes(target)
  check_reset(reset, have, want)
  check_classes(classes, source, target)
  find = Rules(
    source, target, have, want, tuple(classes), positions, resize_patches
  )
  rules: dict[Path, Rule] = {}
  misfits: list[Misfit] = []
  for path in want:
    rule = reset_rule() if is_in(path, reset) else find.rule(path)
    if rule is None:
      misfits.append((path, have.get(find.source_path(path)), want[path]))
    else:
      rules[path] = rule
  used = {find.source_path(path) for path in want}
  for path in have:
    dropped = path[0] in LABEL_MODULES and not target.num_classes
    if path not in used and not dropped and not is_in(path, reset):
      misfits.append((path, have[path], None))
  if misfits:
    raise UsageError(describe_misfits(misfits))
  check_fields(source, target, bool(reset) or resize_patches)
  return rules


def _fresh_params(
  model: nn.Module, paths: Sequence[Path], key: jax.Array
) -> dict[Path, np.ndarray]:
  """Initialises the parameters `paths` only."""

  def init(key):
    inputs, scalars = jax.tree.map(
      lambda x: np.zeros(x.shape, x.dtype), abstract_inputs(model)
    )
    variables = model.init(key, *inputs, **scalars)
    flat = traverse_util.flatten_dict(variables["params"])
    return {"/".join(path): flat[path] for path in paths}

  if not paths:
    return {}
  fresh = jax.jit(init)(key)
  return {path: np.asarray(fresh["/".join(path)]) for path in paths}
