"""Steps whose loss compares with other networks, and takes derivatives."""

import functools

import jax
import numpy as np
import pytest
from fast_compile import fast_compile_jit

from configs import (
  consistency_distillation_digits,
  progressive_distillation_digits,
)
from get_jax.builders.model import build_model
from get_jax.builders.training_step import batch_shapes, build_training_step
from get_jax.training.sharding import (
  batch_sharding,
  make_mesh,
  state_sharding,
)

TASKS = (
  "consistency_distillation",
  "continuous_consistency_distillation",
  "progressive_distillation",
)


def config_of(task, **fields):
  if task == TASKS[2]:
    config = progressive_distillation_digits.get_config("smoke")
    # The network becomes the teacher after the first step.
    config[task] = dict(start_scales=4, steps_per_stage=1)
  else:
    config = consistency_distillation_digits.get_config("smoke")
    section = config.consistency_distillation.copy_and_resolve_references()
    del config.consistency_distillation
    config.task = task
    if task == TASKS[0]:
      config[task] = {**section, "decay": 0.9}
  config.log_every = 1
  config.model.update(hidden_size=64, depth=2, **fields)
  return config


def losses(task, sizes, accumulation=1, **fields):
  """Returns the metrics of two steps, and the last state."""
  config = config_of(task, **fields)
  config.accumulation = accumulation
  model = build_model(config)
  training_step = build_training_step(config, model)
  mesh = make_mesh(sizes, jax.devices()[: int(np.prod(sizes))])
  shapes = jax.eval_shape(training_step.init_state, training_step.init_key)
  shardings = state_sharding(shapes, mesh)
  step = fast_compile_jit(
    training_step.step,
    in_shardings=(shardings, batch_sharding(mesh)),
    out_shardings=(shardings, None),
  )
  rng = np.random.default_rng(0)
  batch = {
    name: rng.uniform(-1, 1, shape.shape).astype(np.float32)
    if shape.dtype == np.float32
    else rng.integers(0, 10, shape.shape).astype(shape.dtype)
    for name, shape in batch_shapes(config, model).items()
  }

  def parameters(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
      lambda a: 0.1 * rng.standard_normal(a.shape, np.float32), shapes.params
    )

  state = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
  state = state.replace(
    params=parameters(0),
    ema=parameters(0),
    bad_step=np.int32(-1),
    targets={name: parameters(1) for name in shapes.targets},
  )
  found = []
  with jax.set_mesh(mesh):
    state = jax.device_put(state, shardings)
    batch = jax.device_put(batch, batch_sharding(mesh))
    for _ in range(2):
      state, _ = step(state, batch)
      found.append([np.asarray(v) for _, v in sorted(state.window.items())])
  assert int(state.bad_step) == -1
  return np.array(found), state


@functools.cache
def one_device(task):
  return losses(task, (1, 1, 1))


@pytest.mark.parametrize("task", TASKS)
def test_a_mesh_computes_the_same(task):
  expected, alone = one_device(task)
  found, state = losses(task, (1, 2, 2))
  np.testing.assert_allclose(found, expected, rtol=2e-4)
  for name, target in state.targets.items():
    # Sharded like the trained parameters, and updated alike.
    kernel = target["blocks_0"]["mlp"]["fc2"]["kernel"]
    assert kernel.addressable_shards[0].data.size == kernel.size // 4
    other = alone.targets[name]["blocks_0"]["mlp"]["fc2"]["kernel"]
    np.testing.assert_allclose(kernel, other, rtol=1e-4, atol=1e-6)


def test_compute_options_give_the_same_derivatives():
  """The Jacobian-vector product of rematerialised blocks."""
  expected, _ = one_device(TASKS[1])
  found, _ = losses(TASKS[1], (1, 1, 1), remat="full")
  np.testing.assert_allclose(found, expected, rtol=2e-4)


@pytest.mark.parametrize("task", [TASKS[0], TASKS[2]])
def test_accumulation_computes_the_same(task):
  """The noise levels are split with the batch, and count steps, not parts."""
  expected, alone = one_device(task)
  found, state = losses(task, (1, 1, 1), accumulation=2)
  np.testing.assert_allclose(found, expected, rtol=2e-4)
  for name, target in state.targets.items():
    kernel = target["blocks_0"]["mlp"]["fc2"]["kernel"]
    other = alone.targets[name]["blocks_0"]["mlp"]["fc2"]["kernel"]
    np.testing.assert_allclose(kernel, other, rtol=1e-4, atol=1e-6)
