"""Optimisers and learning rates from a config."""

import jax
import jax.numpy as jnp
import optax

from get_jax.errors import UsageError
from get_jax.training.sharding import path_name

SCHEDULES = ("constant", "cosine")
NONFINITE = ("stop", "replace")


def learning_rate(config, num_steps: int) -> optax.Schedule:
  """Linear warm-up over `warmup_steps`, then constant or cosine to zero.

  The first step of a warm-up has rate 0, as U-ViT's and EDM's. `warmup_steps`
  need not be whole: EDM's 10 million images are 19,531.25 steps of 512.
  """
  if config.schedule not in SCHEDULES:
    raise UsageError(
      f"optimizer.schedule is {config.schedule!r}; "
      f"expected one of: {', '.join(SCHEDULES)}"
    )
  peak, warmup = config.learning_rate, config.warmup_steps
  if config.schedule == "constant":
    main = optax.constant_schedule(peak)
  else:
    main = optax.cosine_decay_schedule(peak, max(1, num_steps - warmup))
  if not warmup:
    return main

  def rate(step):
    # A product: the first rates are tiny and must not be differences.
    ramp = jnp.minimum(step / warmup, 1.0)
    return ramp * main(jnp.maximum(step - warmup, 0.0))

  return rate


def create_optimizer(config, num_steps: int) -> optax.GradientTransformation:
  """AdamW as `config.optimizer` describes it; float32 moments.

  Keys: learning_rate, schedule, warmup_steps, b1, b2, eps, weight_decay,
  clip_norm (0: none), nonfinite ("stop" leaves gradients as they are, "replace"
  is `replace_nonfinite`).
  """
  nonfinite = config.get("nonfinite", "stop")
  if nonfinite not in NONFINITE:
    raise UsageError(
      f"optimizer.nonfinite is {nonfinite!r}; "
      f"expected one of: {', '.join(NONFINITE)}"
    )
  adam = optax.adamw(
    learning_rate(config, num_steps),
    b1=config.b1,
    b2=config.b2,
    eps=config.eps,
    weight_decay=config.weight_decay,
    mask=_decayed,
  )
  before = [replace_nonfinite()] if nonfinite == "replace" else []
  if config.clip_norm:
    before.append(optax.clip_by_global_norm(config.clip_norm))
  return optax.chain(*before, adam) if before else adam


def replace_nonfinite(limit: float = 1e5) -> optax.GradientTransformation:
  """Gradients without NaN (0 instead) and infinities (+-limit), as EDM's."""
  return optax.stateless(
    lambda updates, _: jax.tree.map(
      lambda g: jnp.nan_to_num(g, nan=0.0, posinf=limit, neginf=-limit),
      updates,
    )
  )


def _decayed(params):
  """Fixed position tables are not weights; everything else decays."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: not path_name(path).endswith("pos_table"), params
  )
