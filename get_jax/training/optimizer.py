"""Builds optimizers and learning rate schedules from a config."""

import jax
import jax.numpy as jnp
import ml_collections
import optax
from jaxtyping import PyTree

from get_jax.errors import UsageError
from get_jax.training.sharding import path_name

SCHEDULES = ("constant", "cosine")
NONFINITE = ("stop", "skip", "replace")


def learning_rate(
  config: ml_collections.ConfigDict, num_steps: int
) -> optax.Schedule:
  """Builds a schedule: linear warm-up, then constant or cosine decay to zero.

  With a warm-up, the first step has learning rate 0, as in U-ViT and EDM.
  `warmup_steps` need not be an integer: EDM's 10 million images are 19,531.25
  steps of 512.

  Args:
    config: section `optimizer`: learning_rate, schedule, warmup_steps.
    num_steps: steps of the whole run, with the warm-up.

  Raises:
    UsageError: `schedule` is unknown.
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

  def schedule(step):
    step = jnp.asarray(step, jnp.float32)
    if not warmup:
      return main(step)
    # A product, because a difference would be inexact for tiny first rates.
    ramp = jnp.minimum(step / warmup, 1.0)
    return ramp * main(jnp.maximum(step - warmup, 0.0))

  return schedule


def create_optimizer(
  config: ml_collections.ConfigDict, num_steps: int
) -> optax.GradientTransformation:
  """Builds AdamW, or rectified Adam, with float32 moments.

  Args:
    config: section `optimizer`: learning_rate, schedule, warmup_steps, b1, b2,
      eps, rectified (whether it is the rectified Adam of Liu et al., 2020),
      weight_decay, clip_norm (maximum global norm; 0: no clipping), nonfinite
      ("replace": applies `replace_nonfinite`; "stop" and "skip": leave
      gradients unchanged, see `make_train_step`).
    num_steps: steps of the whole run.

  Raises:
    UsageError: `schedule` or `nonfinite` is unknown.
  """
  nonfinite = config.get("nonfinite", "stop")
  if nonfinite not in NONFINITE:
    raise UsageError(
      f"optimizer.nonfinite is {nonfinite!r}; "
      f"expected one of: {', '.join(NONFINITE)}"
    )
  rate = learning_rate(config, num_steps)
  moments = {"b1": config.b1, "b2": config.b2, "eps": config.eps}
  decay = {"weight_decay": config.weight_decay, "mask": _weight_decay_mask}
  if config.get("rectified", False):
    adam = optax.chain(
      optax.scale_by_radam(**moments),
      optax.add_decayed_weights(**decay),
      optax.scale_by_learning_rate(rate),
    )
  else:
    adam = optax.adamw(rate, **moments, **decay)
  before = [replace_nonfinite()] if nonfinite == "replace" else []
  if config.clip_norm:
    before.append(optax.clip_by_global_norm(config.clip_norm))
  optimizer = optax.chain(*before, adam) if before else adam
  return _with_standard_promotion(optimizer)


def _with_standard_promotion(
  optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Returns the optimizer, which also works if JAX promotes no dtypes.

  Optax relies on promotion: Adam raises a float to the power of an integer.
  """

  def update(updates, state, params=None):
    with jax.numpy_dtype_promotion("standard"):
      return optimizer.update(updates, state, params)

  return optax.GradientTransformation(optimizer.init, update)


def replace_nonfinite(limit: float = 1e5) -> optax.GradientTransformation:
  """Replaces NaN by 0 and infinities by +-limit in gradients, as in EDM."""
  return optax.stateless(
    lambda updates, _: jax.tree.map(
      lambda g: jnp.nan_to_num(g, nan=0.0, posinf=limit, neginf=-limit),
      updates,
    )
  )


def _weight_decay_mask(params: PyTree) -> PyTree:
  """Selects all parameters except fixed position tables."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: not path_name(path).endswith("pos_table"), params
  )
