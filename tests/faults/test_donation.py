"""Buffers are donated while a checkpoint is written: it has the old values.

A thread of Orbax writes them, while the next steps run. On accelerators it has
a copy; on a CPU it reads the arrays themselves, which JAX then does not donate.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from get_jax.training.checkpoints import Checkpoints, load_params, saved_steps
from get_jax.training.state import make_init_state

SIZE = 1 << 21  # 8 MB
SAVES = 4


def test_a_checkpoint_has_the_values_of_its_step(tmp_path):
  make = make_init_state(
    lambda _: {"w": jnp.zeros(SIZE)}, (), optax.sgd(1.0, momentum=0.9)
  )

  def step(state):
    params = jax.tree.map(lambda x: x + 1, state.params)
    ema = jax.tree.map(lambda x: 2 * x, params)
    return state.replace(step=state.step + 1, params=params, ema=ema)

  jitted = jax.jit(step, donate_argnums=0)
  unsaved = make(jax.random.key(0))
  state = jitted(unsaved)
  assert unsaved.params["w"].is_deleted()
  with Checkpoints(tmp_path / "checkpoints", keep=SAVES) as checkpoints:
    for _ in range(SAVES):
      checkpoints.save(state)
      for _ in range(3):
        state = jitted(state)
  steps = saved_steps(tmp_path)
  assert steps == [1 + 3 * save for save in range(SAVES)]
  for number in steps:
    for which, value in (("params", number), ("ema", 2 * number)):
      params = load_params(tmp_path, which, step=number)
      np.testing.assert_array_equal(params["w"], np.float32(value))
