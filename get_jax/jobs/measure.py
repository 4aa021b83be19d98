"""Measures the quality and the speed of a generator."""

import pathlib
import time

import jax
import numpy as np

from get_jax.builders.evaluator import EXTRACTION_BATCH_SIZE
from get_jax.builders.mesh import build_sampling_mesh
from get_jax.data import open_images
from get_jax.evaluation import (
  FeatureShards,
  Protocol,
  Result,
  batches,
  extract,
  lowest_fid,
  summarize_images,
  to_uint8,
)
from get_jax.evaluation.evaluator import Evaluator
from get_jax.generation.generator import Generator
from get_jax.generation.image_sampler import ImageSampler
from get_jax.training.checkpoints import params_digest
from get_jax.training.preemption import independent_progress, interruptible
from get_jax.training.rng import named_key
from get_jax.training.shard_assignment import assign_shards


def measure(
  evaluator: Evaluator,
  config,
  generator: Generator,
  params: dict,
  workdir: pathlib.Path,
  title: str,
) -> Result:
  """Draws samples and measures them; what a crash leaves is taken over.

  Args:
    evaluator: what to measure with.
    config: gives seed, batch size and mesh.
    generator: draws the samples.
    params: its parameters.
    workdir: features are kept in its `features`.
    title: shown in the progress bar.
  """
  digest, size = params_digest(params), config.sampling.batch_size
  offset = evaluator.conventions.uint8_offset
  results = []
  for repeat in range(evaluator.repeats):
    seed = config.evaluation.seed + repeat
    protocol = Protocol(
      samples=evaluator.count,
      seed=seed,
      weights=f"ema, digest {digest}",
      sampler=generator.sampler,
      steps=generator.steps,
      evaluations=generator.nfe,
      guidance=generator.guidance,
      captions=generator.settings.get("captions"),
      decoder=generator.decoder and generator.decoder.name,
    )
    identity = {
      "params": digest,
      "seed": seed,
      "settings": generator.settings,
      "uint8_offset": offset,
      "extractor": evaluator.extractor.name,
      "extractor_sha256": evaluator.extractor.digest,
    }
    shards = FeatureShards(
      workdir / "features", identity, evaluator.count, size
    )
    image_sampler = ImageSampler(
      generator, named_key(seed, "sample"), size, build_sampling_mesh(config)
    )
    with assign_shards(shards.missing) as mine:
      parts = [shards.indices(shard) for shard in mine]
      drawn = image_sampler.sample_shards(params, parts, description=title)
      classes = generator.conditioning.num_classes
      for shard, (images, chosen) in zip(mine, drawn, strict=True):
        pixels = batches(to_uint8(images, offset), EXTRACTION_BATCH_SIZE)
        labels = chosen if classes else None
        shards.write(shard, extract(evaluator.extractor, pixels), labels)
    summary = shards.summarize(evaluator.extractor, evaluator.keep_rows)
    results.append(evaluator.result(summary, protocol))
  return lowest_fid(results)


def measure_files(evaluator: Evaluator, path: str) -> Result:
  """Measures images made elsewhere: an .npz, a zip or a folder."""
  files = open_images(path)
  with independent_progress():
    images = interruptible(files.batches(EXTRACTION_BATCH_SIZE), f"measuring {files.name}")
    summary = summarize_images(
      evaluator.extractor, images, files.labels, evaluator.keep_rows
    )
  samples = f"{files.count} images of {files.name}"
  return evaluator.result(summary, Protocol(samples=samples))


def seconds_per_1000(config, generator: Generator, params: dict) -> float:
  """Time to draw 1,000 images, compilation aside: the median of 5 batches."""
  size = config.sampling.batch_size
  key = named_key(config.evaluation.seed, "sample")
  image_sampler = ImageSampler(
    generator, key, size, build_sampling_mesh(config)
  )
  params = image_sampler.replicate_params(params)
  image_sampler.sample_batch(params, np.arange(size))
  seconds = []
  for _ in range(5):
    start = time.perf_counter()
    jax.block_until_ready(image_sampler.sample_batch(params, np.arange(size))[0])
    seconds.append(time.perf_counter() - start)
  return float(1000 * np.median(seconds) / size)
