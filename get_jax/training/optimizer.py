"""Optimisers and learning rates from a config."""

import jax
import optax

from get_jax.errors import UsageError
from get_jax.training.sharding import path_name

SCHEDULES = ("constant", "cosine")


def learning_rate(config, num_steps: int) -> optax.Schedule:
  """Linear warm-up over `warmup_steps`, then constant or cosine to zero."""
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
  ramp = optax.linear_schedule(0.0, peak, warmup)
  return optax.join_schedules([ramp, main], [warmup])


def create_optimizer(config, num_steps: int) -> optax.GradientTransformation:
  """AdamW as `config.optimizer` describes it; float32 moments.

  Keys: learning_rate, schedule, warmup_steps, b1, b2, eps, weight_decay,
  clip_norm (0: none).
  """
  adam = optax.adamw(
    learning_rate(config, num_steps),
    b1=config.b1,
    b2=config.b2,
    eps=config.eps,
    weight_decay=config.weight_decay,
    mask=_decayed,
  )
  if config.clip_norm:
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)
  return adam


def _decayed(params):
  """Fixed position tables are not weights; everything else decays."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: not path_name(path).endswith("pos_table"), params
  )
