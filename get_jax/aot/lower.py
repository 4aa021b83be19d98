"""Lowers training and sampling steps for arbitrary devices."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from get_jax.builders.conditioning import abstract_conditioning
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_mesh
from get_jax.builders.model import build_model
from get_jax.builders.training_step import batch_shapes, build_training_step
from get_jax.generation.generator import Generator, make_sample_fn
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

# A function with the abstract values of its two arguments.
AbstractCall = tuple[Callable[[Any, Any], Any], Any, Any]


@dataclasses.dataclass(frozen=True)
class LoweredStep:
  """A lowered training step, or the lowered sampling of one batch.

  Attributes:
    lowered: program that can be compiled.
    mesh: mesh of its devices.
    images: number of images in a step.
    passes: number of sequential network evaluations of sampling, each of which
      reads and writes memory; None for an adaptive sampler, 1 for a training
      step.
    state: bytes of the whole state, or of the parameters for sampling.
    arguments: bytes of one device's shards of the arguments.
  """

  lowered: jax.stages.Lowered
  mesh: Mesh
  images: int
  passes: int | None
  state: int
  arguments: int


def lower_step(
  config: ml_collections.ConfigDict, step: str, devices: Sequence[jax.Device]
) -> LoweredStep:
  """Lowers a step of an experiment from abstract values.

  Args:
    config: the experiment.
    step: "train" or "sample".
    devices: devices of the mesh `config.mesh`; they need not be attached.

  Raises:
    UsageError: the settings contradict each other or the number of devices.
  """
  mesh = build_mesh(config, devices)
  replicated = NamedSharding(mesh, PartitionSpec())
  data_sharding = batch_sharding(mesh)
  in_sharding: Any
  out_sharding: Any
  passes: int | None
  if step == "train":
    images, passes = config.batch_size, 1
    check_batch_size(images, mesh, accumulation=config.accumulation)
    function, state, batch = _abstract_training(config)
    in_sharding = state_sharding(state, mesh)
    out_sharding = (in_sharding, None)
  else:
    images = config.sampling.batch_size
    check_batch_size(images, mesh, "sampling.batch_size")
    generator = _build_abstract_generator(config)
    passes = generator.nfe
    function, state, batch = _abstract_sampling(config, generator, mesh)
    in_sharding = jax.tree.map(lambda _: replicated, state)
    out_sharding = data_sharding
  jitted = jax.jit(
    function,
    in_shardings=(in_sharding, data_sharding),
    out_shardings=out_sharding,
    donate_argnums=0 if step == "train" else (),
  )
  with jax.set_mesh(mesh):
    lowered = jitted.lower(state, batch)
  shards = (
    jax.tree.map(_shard, state, in_sharding),
    jax.tree.map(lambda x: _shard(x, data_sharding), batch),
  )
  return LoweredStep(
    lowered, mesh, images, passes, _num_bytes(state), _num_bytes(shards)
  )


def count_operations(
  config: ml_collections.ConfigDict, step: str
) -> tuple[int, int]:
  """Counts the operations of a step over all devices, from the model.

  These are the multiply-adds of matrix products and convolutions, times two.

  Args:
    config: the experiment.
    step: "train" or "sample".

  Returns:
    Operations that the step needs, and operations that it executes: more if
    the backward pass recomputes activations.

  Raises:
    NotImplementedError: the trip count of a loop is decided at run time.
  """

  def count(**fields):
    changed = with_model_fields(config, attention="xla", scan=True, **fields)
    if step == "train":
      return 2 * multiply_adds(*_abstract_training(changed))
    mesh = make_mesh((1, 1, 1), jax.devices()[:1])
    generator = _build_abstract_generator(changed)
    return 2 * multiply_adds(*_abstract_sampling(changed, generator, mesh))

  executed = count()
  if step == "train" and config.model.get("remat", "none") != "none":
    return count(remat="none"), executed
  return executed, executed


def with_model_fields(
  config: ml_collections.ConfigDict, **fields: Any
) -> ml_collections.ConfigDict:
  """Returns a copy whose network has other values of the given fields.

  Fields that the network does not have are ignored.
  """
  known = {f.name for f in dataclasses.fields(build_model(config))}
  changed = config.copy_and_resolve_references()
  with changed.unlocked():
    for name in known & set(fields):
      changed.model[name] = fields[name]
  return changed


def _abstract_training(config: ml_collections.ConfigDict) -> AbstractCall:
  """Returns a training step with its abstract state and batch."""
  model = build_model(config)
  batch = batch_shapes(config, model)
  # The program does not depend on the value of the seed.
  seed = 0 if config.task == "distillation" else None
  conditioning = abstract_conditioning(config, model)
  training_step = build_training_step(config, model, seed, conditioning)
  state = jax.eval_shape(training_step.init_state, training_step.init_key)
  return training_step.step, state, batch


def _build_abstract_generator(config: ml_collections.ConfigDict) -> Generator:
  """Builds the generator with synthetic text embeddings, if it takes text."""
  conditioning = abstract_conditioning(config, build_model(config))
  return build_generator(config, conditioning=conditioning)


def _abstract_sampling(
  config: ml_collections.ConfigDict, generator: Generator, mesh: Mesh
) -> AbstractCall:
  """Returns the sampling of a batch with its abstract parameters and inputs."""
  model = build_model(config)
  sample_fn = make_sample_fn(generator, mesh)
  key = named_key(config.sampling.seed, "sample")

  def sample(params, batch):
    return sample_fn(params[0], params[1], key, *batch)

  size = config.sampling.batch_size
  indices = jax.ShapeDtypeStruct((size,), jnp.uint32)
  decoder = generator.decoder
  decoder_params = decoder and jax.eval_shape(lambda x: x, decoder.params)
  params = abstract_params(model), decoder_params
  return sample, params, (indices, model.abstract_conditioning(size))


def _num_bytes(tree: Any) -> int:
  return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _shard(
  x: jax.ShapeDtypeStruct, sharding: NamedSharding
) -> jax.ShapeDtypeStruct:
  """Returns the shape and dtype of one device's shard of an array."""
  return jax.ShapeDtypeStruct(sharding.shard_shape(x.shape), x.dtype)
