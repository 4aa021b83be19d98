"""TrainState: everything that a training step reads and writes."""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import Mesh
from jaxtyping import PyTree

from get_jax.training.sharding import state_sharding


class TrainState(struct.PyTreeNode):
  """The state of a run; a resumed run needs nothing else.

  Attributes:
    step: number of updates done, int32.
    params: parameters, float32.
    ema: exponential moving average of the parameters, float32.
    opt_state: state of the optimizer.
    window: sums of the metrics since the last metric line. They are part of the
      state so that a resumed run writes the same lines.
    bad_step: first step whose loss or gradient was not finite; -1: none.
    targets: parameters of the networks that the objective compares with, by
      name, float32; see `get_jax.diffusion.objectives.base.Objective`.
  """

  step: jax.Array
  params: dict
  ema: dict
  opt_state: optax.OptState
  window: dict
  bad_step: jax.Array
  targets: Mapping[str, dict] = struct.field(default_factory=dict)

  def window_means(self, log_every: int) -> dict[str, float]:
    """Returns the mean metrics since the last multiple of `log_every`."""
    steps = (int(self.step) - 1) % log_every + 1
    return {name: float(total) / steps for name, total in self.window.items()}


def make_init_state(
  init: Callable[[jax.Array], dict],
  metric_names: Sequence[str],
  optimizer: optax.GradientTransformation,
  target_names: Sequence[str] = (),
) -> Callable[[jax.Array], TrainState]:
  """Returns a pure function from a PRNG key to an initial state.

  Args:
    init: `init(key) -> params`.
    metric_names: metrics that the objective returns, in addition to "loss" and
      "grad_norm".
    optimizer: the optimizer.
    target_names: names of the objective's targets.
  """

  def init_state(key: jax.Array) -> TrainState:
    params = init(key)
    names = ("loss", "grad_norm", *metric_names)
    return TrainState(
      step=jnp.int32(0),
      params=params,
      ema=jax.tree.map(jnp.copy, params),
      opt_state=optimizer.init(params),
      window={name: jnp.float32(0) for name in names},
      bad_step=jnp.int32(-1),
      targets={n: jax.tree.map(jnp.copy, params) for n in target_names},
    )

  return init_state


def create_state(
  init_state: Callable[[jax.Array], TrainState], key: jax.Array, mesh: Mesh
) -> TrainState:
  """Creates an initial state directly with its sharding on the mesh.

  Args:
    init_state: from `make_init_state`.
    key: PRNG key of the initialization.
    mesh: the device mesh.
  """
  shapes = jax.eval_shape(init_state, key)
  return jax.jit(init_state, out_shardings=state_sharding(shapes, mesh))(key)


def with_params(state: TrainState, params: dict) -> TrainState:
  """Returns a state with other parameters, their average and targets.

  Args:
    state: an initial state; gives the shardings.
    params: NumPy arrays with the shapes and dtypes of `state.params`, the same
      on every process.
  """

  def put(old: jax.Array, new: np.ndarray) -> jax.Array:
    new = np.asarray(new, old.dtype)
    return jax.make_array_from_callback(
      old.shape, old.sharding, lambda index: new[index]
    )

  # Every field gets arrays of its own, because a state is donated.
  place = functools.partial(jax.tree.map, lambda *a: jnp.copy(put(*a)))
  return state.replace(
    params=place(state.params, params),
    ema=place(state.ema, params),
    targets={k: place(old, params) for k, old in state.targets.items()},
  )


def abstract_like(state: PyTree) -> PyTree:
  """Returns the shapes, dtypes and shardings of a state, without values."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
  )
