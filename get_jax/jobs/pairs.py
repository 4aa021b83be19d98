"""Makes the noise/image pairs of a distillation with its teacher."""

import jax
import ml_collections
import numpy as np

from get_jax.builders.decoder import is_latent
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_sampling_mesh
from get_jax.builders.model import build_model, image_shape
from get_jax.distillation.pairs import PairsInfo, PairsWriter, noise_digest
from get_jax.errors import UsageError
from get_jax.generation.conditioning import Captions
from get_jax.generation.image_sampler import ImageSampler
from get_jax.storage.paths import Path, as_path
from get_jax.training.checkpoints import load_params, params_digest
from get_jax.training.rng import named_key
from get_jax.training.shard_assignment import assign_shards
from get_jax.training.workdir import write_results


def check_teacher(config: ml_collections.ConfigDict) -> None:
  """Checks that the student can be distilled from its teacher.

  Raises:
    UsageError: their image shapes or numbers of classes differ, or
      `pairs.dtype` cannot represent the images of the teacher.
  """
  models = build_model(config.teacher), build_model(config)
  teacher, student = (
    {"shape": image_shape(model), "num_classes": model.num_classes}
    for model in models
  )
  for key, expected in teacher.items():
    # A student may be unconditional (num_classes=0) with any teacher.
    if student[key] not in (expected, 0):
      raise UsageError(
        f"the student's {key} is {student[key]}; its teacher's is {expected}"
      )
  if is_latent(config.teacher) and config.pairs.dtype == "uint8":
    raise UsageError(
      "pairs.dtype is 'uint8', which holds images, and the teacher makes "
      "latents; expected 'float16' or 'float32'"
    )


def teacher_workdir(config: ml_collections.ConfigDict, workdir: Path) -> Path:
  """Returns the workdir of the teacher."""
  return as_path(config.pairs.teacher_workdir or workdir / "teacher")


def make_pairs(config: ml_collections.ConfigDict, workdir: Path) -> None:
  """Makes the shards of pairs that `<workdir>/pairs` lacks.

  Raises:
    UsageError: the teacher has no checkpoint or is conditioned on text, or the
      directory holds other pairs.
  """
  teacher, pairs = config.teacher, config.pairs
  params = load_params(teacher_workdir(config, workdir))
  # Pairs of a latent teacher hold latents.
  generator = build_generator(teacher).with_decoder(None)
  if isinstance(generator.conditioning, Captions):
    raise UsageError(
      f"pairs store class labels, and {teacher.model.name} is conditioned on "
      "text; expected a class-conditional or unconditional teacher"
    )
  key = named_key(pairs.seed, "pairs")
  info = PairsInfo(
    count=pairs.count,
    seed=pairs.seed,
    image_shape=generator.image_shape,
    dtype=pairs.dtype,
    num_classes=generator.conditioning.num_classes or None,
    teacher=params_digest(params),
    sampler=generator.settings,
    shard_size=pairs.shard_size,
    noise=noise_digest(key, generator.image_shape),
  )
  writer = PairsWriter(workdir / "pairs", info, jax.process_index())
  image_sampler = ImageSampler(
    generator, key, teacher.sampling.batch_size, build_sampling_mesh(config)
  )
  with writer, assign_shards(writer.missing) as shards:
    if not shards:
      print(f"pairs: all {info.count} are already in {writer.directory}")
    indices = [np.asarray(info.shard_range(shard)) for shard in shards]
    samples = image_sampler.sample_shards(params, indices, description="pairs")
    for shard, (images, labels) in zip(shards, samples, strict=True):
      writer.write_pairs(shard, images, labels)
  # Unknown for an adaptive sampler.
  evaluations = None if generator.nfe is None else generator.nfe * info.count
  write_results(
    workdir, "pairs", {**info.to_json(), "evaluations": evaluations}
  )
