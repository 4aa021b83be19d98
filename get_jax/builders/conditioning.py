"""Builds the conditioning of a config: none, class labels or text."""

import flax.linen as nn
import ml_collections

from get_jax.builders.data import build_source
from get_jax.data import Source
from get_jax.data.texts import StoredTexts, SyntheticTexts, Texts
from get_jax.errors import UsageError
from get_jax.generation.conditioning import (
  Captions,
  ClassLabels,
  Conditioning,
  Unconditional,
)


def build_conditioning(
  config: ml_collections.ConfigDict,
  model: nn.Module,
  source: Source | None = None,
) -> Conditioning:
  """Builds the conditioning of samples, or of training data.

  Args:
    config: the experiment; `sampling.captions` is the directory of the texts
      that samples are conditioned on.
    model: the network of the experiment.
    source: training data whose texts are used. None selects the texts of
      samples: `sampling.captions`, or those of `config.data` if it is empty.

  Raises:
    UsageError: the network takes text embeddings, and there are none or they
      have another shape.
  """
  expected = text_shape(config, model)
  y = model.abstract_conditioning(1)
  if expected is None or y is None:
    if not model.num_classes:
      return Unconditional()
    null = getattr(model, "null_class", False)
    return ClassLabels(model.num_classes, model.num_classes if null else None)
  captions = config.sampling.get("captions")
  texts: Texts | None
  if source is None and captions:
    texts = StoredTexts(captions, verify=False)
  else:
    texts = getattr(source or build_source(config), "texts", None)
  shape = None if texts is None else tuple(texts.shape)
  if texts is None or shape != expected:
    raise UsageError(
      f"{config.model.name} takes texts of shape {expected}; "
      f"{captions or config.data.name!r} has "
      + (f"texts of shape {shape}" if shape else "none")
    )
  return Captions(texts, y.dtype)


def abstract_conditioning(
  config: ml_collections.ConfigDict, model: nn.Module
) -> Conditioning:
  """Builds conditioning that gives the same compiled program without texts.

  Text embeddings are synthetic, with the shape that the network takes.
  """
  shape, y = text_shape(config, model), model.abstract_conditioning(1)
  if shape is None or y is None:
    return build_conditioning(config, model)
  return Captions(SyntheticTexts(1, shape), y.dtype)


def text_shape(
  config: ml_collections.ConfigDict, model: nn.Module
) -> tuple[int, int] | None:
  """Returns the shape (L, D) of a denoiser's text embeddings.

  None if the network takes no text.
  """
  y = model.abstract_conditioning(1)
  if config.task == "distillation" or y is None or y.ndim == 1:
    return None
  return y.shape[1:]
