"""Measures the quality and the speed of a generator."""

import time

import jax
import ml_collections
import numpy as np

from get_jax.builders.evaluator import EXTRACTION_BATCH_SIZE
from get_jax.builders.mesh import build_sampling_mesh
from get_jax.data import open_images
from get_jax.evaluation import (
  EvaluationProtocol,
  EvaluationResult,
  FeatureShards,
  batches,
  extract_features,
  lowest_fid,
  summarize_images,
  to_uint8,
)
from get_jax.evaluation.evaluator import Evaluator
from get_jax.generation.generator import Generator
from get_jax.generation.image_sampler import ImageSampler
from get_jax.storage.paths import Path
from get_jax.training.checkpoints import params_digest
from get_jax.training.preemption import independent_progress, interruptible
from get_jax.training.rng import named_key
from get_jax.training.shard_assignment import assign_shards


def measure(
  evaluator: Evaluator,
  config: ml_collections.ConfigDict,
  generator: Generator,
  params: dict,
  workdir: Path,
  title: str,
  weights: str = "ema",
) -> EvaluationResult:
  """Generates samples and computes their scores.

  The features of samples are stored in shards, so that an interrupted
  measurement resumes with the shards that are missing.

  Args:
    evaluator: extractor, reference and scores.
    config: supplies seed, batch size and mesh.
    generator: generates the samples.
    params: parameters of the generator.
    workdir: directory of the run; features are stored in its `features`.
    title: title of the progress bar.
    weights: what the parameters are, for the protocol.

  Returns:
    The scores; if the evaluator repeats the measurement with other seeds, those
    of the lowest FID.

  Raises:
    UsageError: another process computes the scores of the same samples.
  """
  digest, batch_size = params_digest(params), config.sampling.batch_size
  offset = evaluator.conventions.uint8_offset
  results = []
  for repeat in range(evaluator.repeats):
    seed = config.evaluation.seed + repeat
    protocol = EvaluationProtocol(
      samples=evaluator.count,
      seed=seed,
      weights=f"{weights}, digest {digest}",
      sampler=generator.sampler,
      steps=generator.steps,
      evaluations=generator.nfe,
      guidance=generator.guidance,
      captions=generator.settings.get("captions"),
      decoder=generator.decoder.name if generator.decoder else None,
    )
    identity = {
      "params": digest,
      "seed": seed,
      "settings": generator.settings,
      "uint8_offset": offset,
      "extractor": evaluator.extractor.name,
      "extractor_sha256": evaluator.extractor.digest,
    }
    feature_shards = FeatureShards(
      workdir / "features", identity, evaluator.count, batch_size
    )
    image_sampler = ImageSampler(
      generator,
      named_key(seed, "sample"),
      batch_size,
      build_sampling_mesh(config),
    )
    has_classes = bool(generator.conditioning.num_classes)
    with (
      feature_shards.lock(jax.process_index()),
      assign_shards(feature_shards.missing) as shards,
    ):
      indices = [feature_shards.indices(shard) for shard in shards]
      samples = image_sampler.sample_shards(params, indices, description=title)
      for shard, (images, ids) in zip(shards, samples, strict=True):
        pixels = batches(to_uint8(images, offset), EXTRACTION_BATCH_SIZE)
        features = extract_features(evaluator.extractor, pixels)
        feature_shards.write(shard, features, ids if has_classes else None)
    summary = feature_shards.summarize(
      evaluator.extractor, evaluator.keep_features
    )
    results.append(evaluator.evaluate(summary, protocol))
  return lowest_fid(results)


def measure_files(evaluator: Evaluator, path: str) -> EvaluationResult:
  """Computes the scores of images in an .npz file, a zip file or a folder."""
  files = open_images(path, evaluator.extractor.channels)
  with independent_progress():
    images = interruptible(
      files.batches(EXTRACTION_BATCH_SIZE), f"measuring {files.name}"
    )
    summary = summarize_images(
      evaluator.extractor, images, files.labels, evaluator.keep_features
    )
  samples = f"{files.count} images of {files.name}"
  return evaluator.evaluate(summary, EvaluationProtocol(samples=samples))


def seconds_per_1000(
  config: ml_collections.ConfigDict, generator: Generator, params: dict
) -> float:
  """Returns the seconds to generate 1,000 images, without compilation.

  This is the median over 5 batches, scaled to 1,000 images.
  """
  batch_size = config.sampling.batch_size
  key = named_key(config.evaluation.seed, "sample")
  image_sampler = ImageSampler(
    generator, key, batch_size, build_sampling_mesh(config)
  )
  params = image_sampler.replicate_params(params)
  indices = np.arange(batch_size)
  image_sampler.sample_batch(params, indices)  # compiles
  seconds = []
  for _ in range(5):
    start = time.perf_counter()
    jax.block_until_ready(image_sampler.sample_batch(params, indices)[0])
    seconds.append(time.perf_counter() - start)
  return float(1000 * np.median(seconds) / batch_size)
