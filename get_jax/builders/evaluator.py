"""Builds the evaluator of a config."""

import numpy as np

from get_jax.builders.data import build_source
from get_jax.builders.decoder import check_pixels, is_latent
from get_jax.data import Source
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
from get_jax.evaluation.scores.registry import NEEDS_ROWS
from get_jax.interop import read_checkpoint
from get_jax.training.preemption import independent_progress, interruptible

READ = 500  # images measured at once
CACHE = "~/.cache/get_jax/references"


def build_evaluator(config) -> Evaluator:
  """The evaluator of `config.evaluation`; a preset fills what is left empty.

  Raises:
    UsageError: no extractor is named, its weights or the reference are
      missing, or there are no images to measure but latents.
  """
  wanted = config.evaluation
  if not wanted.samples:
    check_pixels(config)
  preset = get_preset(wanted.preset) if wanted.preset else None
  extractor = build_extractor(
    wanted, preset.preprocessing if preset else wanted.preprocessing
  )
  scores = tuple(wanted.scores or (preset.scores if preset else ()))
  if not scores:
    raise UsageError(
      "evaluation.scores is empty and no preset is named; expected some, such "
      "as ('fid',)"
    )
  keep_rows = bool(NEEDS_ROWS & set(scores))
  if wanted.reference:
    reference = read_reference(wanted.reference, extractor, keep_rows)
  else:
    source = _images(config)
    # The cache need not be shared: every process looks into its own.
    with independent_progress():
      reference = cached_reference(
        CACHE,
        source.fingerprint,
        source.fingerprint,
        extractor,
        lambda: interruptible(real_images(source), "measuring real images"),
        keep_rows,
      )
  return Evaluator(
    extractor,
    reference,
    scores,
    conventions_of(config),
    wanted.preset or None,
    wanted.count,
    preset.repeats if preset else 1,
  )


def conventions_of(config) -> Conventions:
  """Those of the preset, or the plain ones."""
  preset = config.evaluation.preset
  return get_preset(preset).conventions if preset else Conventions()


def _images(config) -> Source:
  """The real images that an experiment learns from, latents or not.

  Raises:
    UsageError: it learns from latents and does not say of which images.
  """
  trained = config.teacher if config.task == "distillation" else config
  if not is_latent(trained):
    return build_source(trained)
  if "latents" not in trained:
    raise UsageError(
      "evaluation.reference is empty and the config has no section latents "
      "that says which images were encoded; expected one of them"
    )
  return build_source(trained.latents)


def build_extractor(wanted, preprocessing: str) -> FeatureExtractor:
  """The extractor that the config names.

  Raises:
    UsageError: it names none, or the weights are missing.
  """
  if not wanted.extractor:
    raise UsageError(
      "evaluation.extractor is empty; expected a name such as digits-v1 or "
      "inception"
    )
  options = {}
  if wanted.extractor == "inception":
    options["read"] = read_checkpoint
  if wanted.extractor_path:
    options["path"] = wanted.extractor_path
  if "inception" in wanted.extractor and preprocessing:
    options["preprocessing"] = preprocessing
  return create_extractor(wanted.extractor, **options)


def real_images(source: Source):
  """All images of a source, in batches of uint8."""
  for start in range(0, len(source), READ):
    indices = np.arange(start, min(start + READ, len(source)))
    yield to_uint8(source.read(indices)["image"])
