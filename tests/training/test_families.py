"""Every family trains on meshes as on one device, with few collectives."""

import functools
import math
import re

import jax
import numpy as np
import pytest

from configs import (
  diffit_cifar10,
  diffit_imagenet256,
  dit_xl2,
  edm_cifar10_vp,
  edm_imagenet64,
  get_base_cifar10,
  improved_mean_flow_b2,
  uvit_h2_imagenet256,
  vit_base_cifar10,
)
from get_jax.builders.model import build_init, build_model
from get_jax.builders.training_step import batch_shapes, build_training_step
from get_jax.training.optimizer import create_optimizer
from get_jax.training.sharding import batch_sharding, make_mesh, state_sharding
from get_jax.training.state import make_init_state
from tests.fast_compile import fast_compile_jit

STEPS = 4
REPEATED = 2
FAMILIES = {
  "DiT": dit_xl2,
  "U-ViT": uvit_h2_imagenet256,
  "DiffiT": diffit_imagenet256,
  "DiffiT-image": diffit_cifar10,
  "ViT": vit_base_cifar10,
  "GET": get_base_cifar10,
  "SongUNet": edm_cifar10_vp,
  "ADM": edm_imagenet64,
  "iMF": improved_mean_flow_b2,
}
# Sharded parameters; all axes at once. Both split the batch.
MESHES = ((1, 8, 1), (2, 2, 2))
CASES = (
  # Replicated parameters, whose programs differ least between families.
  *((name, (8, 1, 1)) for name in ("DiT", "GET")),
  *(
    (name, sizes)
    for name in FAMILIES
    # Forward-mode derivatives, of which one mesh is enough.
    for sizes in (MESHES[:1] if name == "iMF" else MESHES)
  ),
)


def small(name, **fields):
  """The smoke config of a family, with arrays large enough to be sharded."""
  config = FAMILIES[name].get_config("smoke")
  config.log_every = 1
  with config.unlocked():
    if "hidden_size" in config.model:
      config.model.hidden_size = 64
    if name == "SongUNet":
      # Layers between levels too; one U-Net is enough.
      config.model.channel_mult = (1, 1)
      config.model.attn_resolutions = (config.model.input_size // 2,)
    config.model.update(fields)
    if config.augmentation:
      # The augmentation's program is larger than the network's.
      config.augmentation, config.model.augment_dim = {}, 0
  return config


class Run:
  """The compiled step of an experiment on a mesh."""

  def __init__(self, config, sizes):
    devices = jax.devices()[: int(np.prod(sizes))]
    self.mesh = make_mesh(sizes, devices)
    model = build_model(config)
    self.batch = batch_shapes(config, model)
    seed = config.pairs.seed if config.task == "distillation" else None
    self.training_step = build_training_step(config, model, seed)
    key = self.training_step.init_key
    self.shapes = jax.eval_shape(self.training_step.init_state, key)
    self.state_shardings = state_sharding(self.shapes, self.mesh)
    step = fast_compile_jit(
      self.training_step.step,
      in_shardings=(self.state_shardings, batch_sharding(self.mesh)),
      out_shardings=(self.state_shardings, None),
    )
    with jax.set_mesh(self.mesh):
      self.step = step.lower(self.shapes, self.batch).compile()

  def losses(self, start, batches):
    state = jax.device_put(start, self.state_shardings)
    sharding = batch_sharding(self.mesh)
    for batch in batches:
      state, _ = self.step(state, jax.device_put(batch, sharding))
      yield np.asarray(state.window["loss"])
    assert int(state.bad_step) == -1


@functools.cache
def one_device(name):
  """Initial state, batches and losses on one device."""
  run = Run(small(name), (1, 1, 1))
  rng = np.random.default_rng(0)

  def record(shape):
    if shape.dtype == np.float32:
      return rng.uniform(-1, 1, shape.shape).astype(np.float32)
    return rng.integers(0, 10, shape.shape).astype(shape.dtype)

  # With random parameters, every gradient counts from the first step on. With
  # those of the initialisation, the outputs of many layers are 0.
  params = jax.tree.map(
    lambda a: 0.1 * rng.standard_normal(a.shape, np.float32), run.shapes.params
  )
  start = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), run.shapes)
  start = start.replace(params=params, ema=params, bad_step=np.int32(-1))
  batches = [jax.tree.map(record, run.batch) for _ in range(STEPS)]
  return start, batches, list(run.losses(start, batches))


def collectives(text):
  """Kinds and result sizes of the collectives in a compiled program."""
  kinds = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"
  found = re.findall(rf"= (.*) ({kinds})(?:-start)?\(", text)
  return [
    (kind, math.prod(map(int, shape.split(","))))
    for result, kind in found
    for shape in re.findall(r"\[([\d,]+)\]", result)
  ]


@pytest.mark.parametrize(("name", "sizes"), CASES, ids=str)
def test_losses_agree_with_one_device(name, sizes):
  start, batches, expected = one_device(name)
  run = Run(small(name), sizes)
  losses = list(run.losses(start, batches))
  np.testing.assert_allclose(losses, expected, rtol=1e-5)
  again = list(run.losses(start, batches[:REPEATED]))
  np.testing.assert_array_equal(again, losses[:REPEATED])
  found = collectives(run.step.as_text())
  assert {kind for kind, _ in found} == {"all-gather", "all-reduce"}
  if sizes[2] == 1:
    # Only parameters are gathered, no activations.
    params = {leaf.size for leaf in jax.tree.leaves(run.shapes.params)}
    assert {size for kind, size in found if kind == "all-gather"} <= params


@pytest.mark.parametrize("name", ["DiT", "U-ViT", "GET"])
def test_the_state_of_a_published_network_is_sharded(name):
  """Only small arrays are replicated."""
  config = FAMILIES[name].get_config()
  model = build_model(config)
  optimizer = create_optimizer(config.optimizer, config.num_steps)
  make = make_init_state(build_init(model), (), optimizer)
  shapes = jax.eval_shape(make, jax.random.key(0))

  def bytes_of(tree, shardings=None):
    if shardings is not None:
      tree = jax.tree.map(
        lambda x, p: jax.ShapeDtypeStruct(p.shard_shape(x.shape), x.dtype),
        tree,
        shardings,
      )
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))

  whole = bytes_of(shapes)
  for sizes, expected in (((1, 8, 1), 1), ((8, 1, 1), 3 / 4 + 8 / 4)):
    shardings = state_sharding(shapes, make_mesh(sizes))
    share = bytes_of(shapes, shardings) / (whole / 8)
    assert expected <= share <= 1.1 * expected


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("name", ["DiT", "GET"])
def test_accumulation_uses_the_same_random_values(name, sizes):
  """The same losses and gradients from microbatches."""
  start, batches, expected = one_device(name)
  config = small(name)
  config.accumulation = 2 if sizes[0] > 1 else 4
  run = Run(config, sizes)
  losses = list(run.losses(start, batches))
  np.testing.assert_allclose(losses, expected, rtol=1e-5)
  np.testing.assert_allclose(losses[0], expected[0], rtol=1e-6)
