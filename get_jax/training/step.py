"""One training step: loss, gradient, update, average."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from get_jax.nn.sharding import gather_outside_blocks
from get_jax.training.sharding import pin_update
from get_jax.training.state import TrainState

Batch = dict[str, jax.Array]


def make_train_step(
  loss: Callable[[dict, Batch, jax.Array], tuple[jax.Array, dict]],
  optimizer: optax.GradientTransformation,
  ema_decay: Callable[[jax.Array], jax.Array],
  key: jax.Array,
  log_every: int,
  stop_on_nonfinite: bool = True,
) -> Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]:
  """A function (state, batch) -> (state, bad_step), to be jitted.

  The state is meant to be donated; `bad_step` comes out once more for the loop
  to look at while the next step is under way.

  Args:
    loss: `loss(params, batch, key) -> (scalar, metrics)`; its randomness comes
      from the key alone, which is a function of the step.
    optimizer: optax transformation.
    ema_decay: decay of the average as a function of the step.
    key: the run's key for steps.
    log_every: steps between log lines, over which the metrics are summed.
    stop_on_nonfinite: whether a loss or gradient that is not finite counts as
      a bad step; else the optimizer is trusted with it.
  """

  def train_step(state: TrainState, batch: Batch):
    step_key = jax.random.fold_in(key, state.step)

    def whole_loss(params):
      return loss(gather_outside_blocks(params), batch, step_key)

    grad_fn = jax.value_and_grad(whole_loss, has_aux=True)
    (value, metrics), grads = grad_fn(state.params)
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
