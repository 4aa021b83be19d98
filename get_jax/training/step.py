"""The training step: loss, gradient, optimizer update and EMA."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from get_jax.diffusion.objectives.base import Objective
from get_jax.nn.sharding import gather_outside_blocks, shard_batch
from get_jax.training.ema import DecaySchedule
from get_jax.training.sharding import shard_gradients
from get_jax.training.state import TrainState

Batch = dict[str, jax.Array]


def sharded_value_and_grad(objective: Objective) -> Callable:
  """`jax.value_and_grad` of a loss for parameters sharded over "fsdp".

  Args:
    objective: its loss is differentiated with respect to the parameters.

  Returns:
    A function (params, samples, key, targets) -> ((loss, metrics), gradient).
  """

  def gathered_loss(params, samples, key, targets):
    targets = {k: gather_outside_blocks(v) for k, v in targets.items()}
    return objective.loss(gather_outside_blocks(params), samples, key, targets)

  return jax.value_and_grad(gathered_loss, has_aux=True)


def accumulate(value_and_grad: Callable, num_microbatches: int) -> Callable:
  """Returns `value_and_grad` of samples in parts, one after the other.

  All random values were sampled for the whole batch, so the microbatches
  together use the same values as the whole batch. Only dropout inside the
  network is sampled anew for each microbatch. Microbatch i contains the samples
  whose position is i modulo `num_microbatches`, so that no sample moves to
  another device. The sums are float32, like the parameters.

  Args:
    value_and_grad: from `sharded_value_and_grad`.
    num_microbatches: a divisor of the batch size.
  """

  def split(x: jax.Array) -> jax.Array:
    x = x.reshape(-1, num_microbatches, *x.shape[1:]).swapaxes(0, 1)
    return jax.vmap(shard_batch)(x)

  def accumulated(params, samples, key, targets) -> PyTree:
    microbatches = jax.tree.map(split, samples)

    def add(total, microbatch):
      index, part = microbatch
      part_key = jax.random.fold_in(key, index)
      value, grads = value_and_grad(params, part, part_key, targets)
      value = value, shard_gradients(grads)
      return jax.tree.map(jnp.add, total, value), None

    first = jax.tree.map(lambda x: x[0], microbatches)
    shapes = jax.eval_shape(value_and_grad, params, first, key, targets)
    value, grads = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total = value, shard_gradients(grads)
    total, _ = jax.lax.scan(
      add, total, (jnp.arange(num_microbatches), microbatches)
    )
    return jax.tree.map(lambda x: x / num_microbatches, total)

  return accumulated


def make_train_step(
  objective: Objective,
  optimizer: optax.GradientTransformation,
  ema_decay: DecaySchedule,
  key: jax.Array,
  log_every: int,
  nonfinite: str = "stop",
  accumulation: int = 1,
) -> Callable[[TrainState, Batch], tuple[TrainState, Int[Array, ""]]]:
  """Returns the training step (state, batch) -> (state, bad_step), for `jit`.

  The caller should donate the state. `bad_step` is the number of a step whose
  loss or gradient is not finite, else -1. It is returned outside the state, so
  that the loop can read it while the next step runs.

  Args:
    objective: the loss; its random values depend only on the key, which is a
      function of the step.
    optimizer: the optimizer.
    ema_decay: decay of the EMA as a function of the step.
    key: the key of the run's steps.
    log_every: number of steps between metric lines; the metrics are summed over
      them.
    nonfinite: what a loss or gradient that is not finite does. "stop": the
      state keeps the number of the first such step. "skip": the step changes
      neither parameters, nor EMA, nor optimizer, nor targets, unless the
      objective restarts the optimizer at that step. "replace": the
      optimizer handles it, and there are no bad steps.
    accumulation: number of microbatches per batch, see `accumulate`.
  """
  value_and_grad = sharded_value_and_grad(objective)
  if accumulation > 1:
    value_and_grad = accumulate(value_and_grad, accumulation)

  def train_step(state: TrainState, batch: Batch):
    step_key = jax.random.fold_in(key, state.step)
    samples = objective.prepare(batch, step_key, state.step)
    (value, metrics), grads = value_and_grad(
      state.params, samples, step_key, state.targets
    )
    grads = shard_gradients(grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    factor = objective.learning_rate_factor(state.step)
    if not isinstance(factor, float) or factor != 1:
      updates = jax.tree.map(lambda u: factor * u, updates)
    params = optax.apply_updates(state.params, updates)
    decay = ema_decay(state.step)
    ema = optax.incremental_update(params, state.ema, 1.0 - decay)

    norm = optax.tree.norm(grads)
    metrics = {**metrics, "loss": value, "grad_norm": norm}
    assert metrics.keys() == state.window.keys(), "see metric_names"
    finite = jnp.isfinite(value) & jnp.isfinite(norm)
    new_window = state.step % log_every == 0
    stop = nonfinite == "stop"
    first_bad = (state.bad_step < 0) & ~finite & stop
    bad_step = first_bad_step = jnp.where(first_bad, state.step, state.bad_step)
    if nonfinite == "skip":
      bad_step = jnp.where(finite, -1, state.step)
      params, ema, opt_state = _where(
        finite,
        (params, ema, opt_state),
        (state.params, state.ema, state.opt_state),
      )
    targets = objective.update_targets(state.targets, params, state.step)
    restarts = objective.restarts_optimizer(state.step)
    if nonfinite == "skip":
      targets = _where(finite | restarts, targets, state.targets)
    if not isinstance(restarts, bool):
      opt_state = _where(
        jnp.asarray(restarts), optimizer.init(params), opt_state
      )
    state = TrainState(
      step=state.step + 1,
      params=params,
      ema=ema,
      opt_state=opt_state,
      window={
        k: jnp.where(new_window, 0, state.window[k]) + metrics[k]
        for k in state.window
      },
      bad_step=first_bad_step,
      targets=targets,
    )
    return state, bad_step

  return train_step


def _where(condition: jax.Array, new: PyTree, old: PyTree) -> PyTree:
  """Returns one of two trees of arrays."""
  return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
