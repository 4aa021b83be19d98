"""Whole steps as programs that are not compiled yet, on any devices."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from get_jax.builders.conditioning import abstract_conditioning
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_mesh
from get_jax.builders.model import build_model
from get_jax.builders.training_step import batch_shapes, build_training_step
from get_jax.generation.generator import Generator, sampling_function
from get_jax.models.counting import multiply_adds
from get_jax.models.parameters import abstract_params
from get_jax.training.rng import named_key
from get_jax.training.sharding import (
  batch_sharding,
  check_batch_size,
  make_mesh,
  state_sharding,
)

STEPS = ("train", "sample")


@dataclasses.dataclass(frozen=True)
class Step:
  """A step of training, or the sampling of a batch.

  Attributes:
    lowered: to be compiled.
    mesh: what it runs on.
    images: in a step.
    passes: how often, one after the other, memory is gone through: evaluations
      of the network in sampling.
    state: bytes of the whole state, or of the parameters.
    arguments: bytes of what one device is given.
  """

  lowered: jax.stages.Lowered
  mesh: Mesh
  images: int
  passes: int
  state: int
  arguments: int


def lower_step(config, kind: str, devices: list) -> Step:
  """The step of an experiment, made from shapes alone.

  Args:
    config: the experiment.
    kind: "train" or "sample".
    devices: as many as `config.mesh` asks for; they need not be there.

  Raises:
    UsageError: the settings contradict each other or the devices.
  """
  mesh = build_mesh(config, devices)
  whole, split = NamedSharding(mesh, PartitionSpec()), batch_sharding(mesh)
  if kind == "train":
    images = config.batch_size
    check_batch_size(images, mesh, accumulation=config.accumulation)
    passes, (function, state, batch) = 1, _training(config)
    placing = state_sharding(state, mesh)
    results = (placing, None)
  else:
    images = config.sampling.batch_size
    check_batch_size(images, mesh, "sampling.batch_size")
    generator = _generator(config)
    passes = generator.evaluations
    function, state, batch = _sampling(config, generator, mesh)
    placing, results = jax.tree.map(lambda _: whole, state), split
  jitted = jax.jit(
    function,
    in_shardings=(placing, split),
    out_shardings=results,
    donate_argnums=0 if kind == "train" else (),
  )
  with jax.set_mesh(mesh):
    lowered = jitted.lower(state, batch)
  parts = (
    jax.tree.map(_part, state, placing),
    jax.tree.map(lambda x: _part(x, split), batch),
  )
  return Step(lowered, mesh, images, passes, _bytes(state), _bytes(parts))


def count_operations(config, kind: str) -> tuple[int, int]:
  """Operations of a step over all devices, counted from the model.

  Multiply-adds of matrix products and convolutions, times two.

  Returns:
    What the step needs, and what it does: more where the backward pass
    computes activations again.

  Raises:
    NotImplementedError: a loop whose number of turns is decided at run time.
  """
  plain = dict(attention="xla", scan=True)

  def count(**fields):
    changed = with_fields(config, **plain, **fields)
    if kind == "train":
      return 2 * multiply_adds(*_training(changed))
    here = make_mesh((1, 1, 1), jax.devices()[:1])
    return 2 * multiply_adds(*_sampling(changed, _generator(changed), here))

  done = count()
  again = kind == "train" and config.model.get("remat", "none") != "none"
  return count(remat="none") if again else done, done


def with_fields(config, **fields: Any):
  """A copy whose network has other fields, those that it has at all."""
  known = {f.name for f in dataclasses.fields(build_model(config))}
  changed = config.copy_and_resolve_references()
  with changed.unlocked():
    for name in known & set(fields):
      changed.model[name] = fields[name]
  return changed


def _training(config):
  """A step, and the shapes of its state and batch."""
  model = build_model(config)
  batch = batch_shapes(config, model)
  # Any seed of the pairs makes the same program.
  seed = 0 if config.task == "distillation" else None
  conditioning = abstract_conditioning(config, model)
  training_step = build_training_step(config, model, batch, seed, conditioning)
  state = jax.eval_shape(training_step.init_state, training_step.init_key)
  return training_step.step, state, batch


def _generator(config) -> Generator:
  """The generator, its texts, if it is told any, of the right shape alone."""
  conditioning = abstract_conditioning(config, build_model(config))
  return build_generator(config, conditioning=conditioning)


def _sampling(config, generator: Generator, mesh: Mesh):
  """The sampling of a batch, and the shapes of what it is given."""
  model = build_model(config)
  make = sampling_function(generator, mesh)
  key = named_key(config.sampling.seed, "sample")

  def sample(params, batch):
    return make(params[0], params[1], key, *batch)

  size = config.sampling.batch_size
  indices = jax.ShapeDtypeStruct((size,), jnp.uint32)
  decoder = generator.decoder and jax.eval_shape(
    lambda: generator.decoder.params
  )
  params = abstract_params(model), decoder
  return sample, params, (indices, model.inputs(size)[-1])


def _bytes(tree) -> int:
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _part(x: jax.ShapeDtypeStruct, placing: NamedSharding):
  """What one device has of an array."""
  return jax.ShapeDtypeStruct(placing.shard_shape(x.shape), x.dtype)
