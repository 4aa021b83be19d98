"""One training step: loss, gradient, update, average."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from get_jax.nn.sharding import gather_outside_blocks, pin_batch
from get_jax.training.sharding import pin_update
from get_jax.training.state import TrainState

Batch = dict[str, jax.Array]


def sharded_value_and_grad(loss: Callable) -> Callable:
  """Loss, metrics and gradient of a loss, from split parameters."""

  def whole(params, *args):
    return loss(gather_outside_blocks(params), *args)

  return jax.value_and_grad(whole, has_aux=True)


def accumulate(objective, parts: int) -> Callable:
  """Loss, metrics and gradient of a batch, of which a part at a time is held.

  What is random about a sample is drawn for the whole batch by
  `objective.prepare`, so that the parts together see what the whole batch
  would have; only dropout inside the network is drawn anew in each part.
  Part i takes every sample whose position is i modulo `parts`, which leaves
  the samples on their devices. The sums are float32, as the parameters are.

  Args:
    objective: with `prepare(batch, key) -> samples` and `loss(params, samples,
      key) -> (scalar, metrics)`, a mean over samples.
    parts: a divisor of the batch size.
  """
  gradient = sharded_value_and_grad(objective.loss)

  def part_of(x):
    x = x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)
    return jax.vmap(pin_batch)(x)

  def accumulated(params, batch, key):
    samples = jax.tree.map(part_of, objective.prepare(batch, key))

    def add(total, part):
      index, samples = part
      found = gradient(params, samples, jax.random.fold_in(key, index))
      found = found[0], pin_update(found[1])
      return jax.tree.map(jnp.add, total, found), None

    first = jax.tree.map(lambda x: x[0], samples)
    shapes = jax.eval_shape(gradient, params, first, key)
    total, grads = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total = total, pin_update(grads)
    total, _ = jax.lax.scan(add, total, (jnp.arange(parts), samples))
    return jax.tree.map(lambda x: x / parts, total)

  return accumulated


def make_train_step(
  objective: Callable[[dict, Batch, jax.Array], tuple[jax.Array, dict]],
  optimizer: optax.GradientTransformation,
  ema_decay: Callable[[jax.Array], jax.Array],
  key: jax.Array,
  log_every: int,
  stop_on_nonfinite: bool = True,
  accumulation: int = 1,
) -> Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]:
  """A function (state, batch) -> (state, bad_step), to be jitted.

  The state is meant to be donated; `bad_step` comes out once more for the loop
  to look at while the next step is under way.

  Args:
    objective: `objective(params, batch, key) -> (scalar, metrics)`; its
      randomness comes from the key alone, which is a function of the step.
    optimizer: optax transformation.
    ema_decay: decay of the average as a function of the step.
    key: the run's key for steps.
    log_every: steps between log lines, over which the metrics are summed.
    stop_on_nonfinite: whether a loss or gradient that is not finite counts as
      a bad step; else the optimizer is trusted with it.
    accumulation: parts that a batch is worked through in, one after the other;
      the objective must have `prepare` and `loss` then, see `accumulate`.
  """
  gradient = sharded_value_and_grad(objective)
  if accumulation > 1:
    gradient = accumulate(objective, accumulation)

  def train_step(state: TrainState, batch: Batch):
    step_key = jax.random.fold_in(key, state.step)
    (value, metrics), grads = gradient(state.params, batch, step_key)
    grads = pin_update(grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = ema_decay(state.step)
    ema = optax.incremental_update(params, state.ema, 1.0 - decay)

    norm = optax.tree.norm(grads)
    metrics = {**metrics, "loss": value, "grad_norm": norm}
    finite = jnp.isfinite(value) & jnp.isfinite(norm)
    restart = state.step % log_every == 0
    first_bad = (state.bad_step < 0) & ~finite & stop_on_nonfinite
    bad_step = jnp.where(first_bad, state.step, state.bad_step)
    state = TrainState(
      step=state.step + 1,
      params=params,
      ema=ema,
      opt_state=opt_state,
      window={
        k: jnp.where(restart, 0, state.window[k]) + metrics[k]
        for k in state.window
      },
      bad_step=bad_step,
    )
    return state, bad_step

  return train_step
