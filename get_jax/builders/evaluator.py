"""Builds the evaluator of a config: extractor, reference and scores."""

import os
from collections.abc import Iterator
from typing import Any

import ml_collections
import numpy as np

from get_jax.builders.data import build_source
from get_jax.builders.decoder import check_decodable, is_latent
from get_jax.data import Source
from get_jax.data.content import describe_content
from get_jax.errors import UsageError
from get_jax.evaluation import (
  Conventions,
  FeatureExtractor,
  cached_reference,
  create_extractor,
  get_preset,
  read_reference,
  to_uint8,
)
from get_jax.evaluation.evaluator import Evaluator
from get_jax.evaluation.extractors import inception_weights
from get_jax.evaluation.scores.registry import NEEDS_FEATURES
from get_jax.interop import read_checkpoint
from get_jax.storage.cache import cache_directory
from get_jax.training.preemption import independent_progress, interruptible
from get_jax.weights import locate

EXTRACTION_BATCH_SIZE = 500  # images per call of a feature extractor


def build_evaluator(config: ml_collections.ConfigDict) -> Evaluator:
  """Builds the evaluator of `config.evaluation`.

  A preset supplies the settings that are empty. Without a reference file, the
  statistics of the training images are computed, and cached in `references` in
  the folder of --cache_dir.

  Raises:
    UsageError: no extractor is named, its weights or the reference are
      missing, or the samples are latents that cannot be decoded.
  """
  section = config.evaluation
  if not section.samples:
    check_decodable(config)
  preset = get_preset(section.preset) if section.preset else None
  extractor = build_extractor(
    section, preset.preprocessing if preset else section.preprocessing
  )
  scores = tuple(section.scores or (preset.scores if preset else ()))
  if not scores:
    raise UsageError(
      "evaluation.scores is empty and no preset is named; expected names of "
      "scores, such as ('fid',)"
    )
  keep_features = bool(NEEDS_FEATURES & set(scores))
  if section.reference:
    path = locate(section.reference, "reference", "evaluation.reference")
    reference = read_reference(path, extractor, keep_features)
  else:
    source = _build_image_source(config)
    # The cache may be local to a host, so every process checks its own.
    with independent_progress():
      reference = cached_reference(
        cache_directory() / "references",
        source.fingerprint,
        f"{source.fingerprint} {describe_content(source)['content']}",
        extractor,
        lambda: interruptible(read_images(source), "measuring real images"),
        keep_features,
      )
  return Evaluator(
    extractor,
    reference,
    scores,
    build_conventions(config),
    section.preset or None,
    section.count,
    preset.repeats if preset else 1,
  )


def build_conventions(config: ml_collections.ConfigDict) -> Conventions:
  """Returns the conventions of the preset, or the defaults without one."""
  preset = config.evaluation.preset
  return get_preset(preset).conventions if preset else Conventions()


def build_extractor(
  section: ml_collections.ConfigDict, preprocessing: str
) -> FeatureExtractor:
  """Builds the feature extractor of a config.

  Args:
    section: `config.evaluation`: `extractor` is its name, `extractor_path` the
      path or name of its weights. Inception's are downloaded on first use if
      `extractor_path` is empty.
    preprocessing: how Inception resizes images; other extractors ignore it.

  Raises:
    UsageError: no extractor is named, or its weights are missing.
  """
  if not section.extractor:
    raise UsageError(
      "evaluation.extractor is empty; expected a name such as digits-v1 or "
      "inception"
    )
  options: dict[str, Any] = {}
  if section.extractor == "inception":
    options["read"] = read_checkpoint
    options["path"] = _inception_path(section.extractor_path)
  elif section.extractor_path:
    options["path"] = section.extractor_path
  if "inception" in section.extractor and preprocessing:
    options["preprocessing"] = preprocessing
  return create_extractor(section.extractor, **options)


def _inception_path(path: str) -> str:
  """Returns the file of Inception's weights; by default the published one."""
  if not path and inception_weights.DEFAULT_PATH.expanduser().is_file():
    return os.fspath(inception_weights.DEFAULT_PATH)
  return locate(path or "inception", "extractor", "evaluation.extractor_path")


def read_images(source: Source) -> Iterator[np.ndarray]:
  """Yields all images of a source as uint8 batches (n, H, W, C)."""
  for start in range(0, len(source), EXTRACTION_BATCH_SIZE):
    stop = min(start + EXTRACTION_BATCH_SIZE, len(source))
    yield to_uint8(source.read(np.arange(start, stop))["image"])


def _build_image_source(config: ml_collections.ConfigDict) -> Source:
  """Builds the source of the images that the training data consists of.

  For latents these are the images that were encoded; for a distillation, the
  training images of the teacher.

  Raises:
    UsageError: the data are latents and the config does not name their images.
  """
  trained = config.teacher if config.task == "distillation" else config
  if not is_latent(trained):
    return build_source(trained)
  if "latents" not in trained:
    raise UsageError(
      "evaluation.reference is empty and the config has no section latents "
      "that names the encoded images; expected one of them"
    )
  return build_source(trained.latents)
