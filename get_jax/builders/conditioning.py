"""Builds the conditioning of a config: none, class labels or text."""

from get_jax.builders.data import build_source
from get_jax.data.texts import StoredTexts, SyntheticTexts
from get_jax.errors import UsageError
from get_jax.generation.conditioning import (
  Captions,
  Classes,
  Conditioning,
  Unconditional,
)


def text_shape(config, model) -> tuple[int, int] | None:
  """(L, D) of the texts that a denoiser takes; None where it takes none."""
  y = model.inputs(1)[-1]
  if config.task != "denoising" or y is None or y.ndim == 1:
    return None
  return y.shape[1:]


def abstract_conditioning(config, model) -> Conditioning:
  """A condition that makes the same programs, without any texts."""
  shape = text_shape(config, model)
  if shape is None:
    return build_conditioning(config, model)
  return Captions(SyntheticTexts(1, shape))


def build_conditioning(config, model, source=None) -> Conditioning:
  """What the network is told besides noise and time.

  Args:
    config: the experiment; `sampling.captions` names the texts of samples.
    model: its network.
    source: of the data whose texts to take; None takes those of samples, which
      are the data's where the config names none.

  Raises:
    UsageError: the network takes texts that are not there, or of another
      shape.
  """
  shape = text_shape(config, model)
  if shape is None:
    if not model.num_classes:
      return Unconditional()
    null = getattr(model, "null_class", False)
    return Classes(model.num_classes, model.num_classes if null else None)
  captions = config.sampling.get("captions")
  if source is None and captions:
    texts = StoredTexts(captions, verify=False)
  else:
    texts = getattr(source or build_source(config), "texts", None)
  found = texts and tuple(texts.shape)
  if found != shape:
    raise UsageError(
      f"{config.model.name} takes texts of shape {shape}; "
      f"{captions or config.data.name!r} has "
      + (f"texts of shape {found}" if found else "none")
    )
  return Captions(texts)
