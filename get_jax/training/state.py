"""All that a training step reads and writes."""

import jax
import jax.numpy as jnp
import optax
from flax import struct

from get_jax.training.sharding import state_sharding


@struct.dataclass
class TrainState:
  """The state of a run; everything a resumed run needs.

  Attributes:
    step: number of updates done, int32.
    params: parameters, float32.
    ema: their moving average, float32.
    opt_state: the optimiser's state.
    window: sums of the metrics since the last log line; kept here so that a
      resumed run writes the same lines.
    bad_step: first step whose loss or gradient was not finite; -1: none.
  """

  step: jax.Array
  params: dict
  ema: dict
  opt_state: optax.OptState
  window: dict
  bad_step: jax.Array

  def window_means(self, log_every: int) -> dict[str, float]:
    """The mean metrics since the last multiple of `log_every`, as numbers."""
    steps = (int(self.step) - 1) % log_every + 1
    return {name: float(total) / steps for name, total in self.window.items()}


def state_maker(init, metric_names, optimizer):
  """A pure function from a PRNG key to a fresh state.

  Args:
    init: `init(key) -> params`.
    metric_names: what the loss reports beside "loss" and "grad_norm".
    optimizer: an optax transformation.
  """

  def make(key):
    params = init(key)
    names = ("loss", "grad_norm", *metric_names)
    return TrainState(
      step=jnp.int32(0),
      params=params,
      ema=jax.tree.map(jnp.copy, params),
      opt_state=optimizer.init(params),
      window={name: jnp.float32(0) for name in names},
      bad_step=jnp.int32(-1),
    )

  return make


def create_state(make, key, mesh) -> TrainState:
  """A fresh state of `state_maker`, made where it lives on the mesh."""
  shapes = jax.eval_shape(make, key)
  return jax.jit(make, out_shardings=state_sharding(shapes, mesh))(key)


def abstract_like(state):
  """Shapes, dtypes and places of a state, without its values."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
  )
