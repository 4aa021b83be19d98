"""Builds the diffusion process and the augmentation of a config."""

import flax.linen as nn
import ml_collections

from get_jax.builders.model import image_shape
from get_jax.builders.sections import name_and_fields
from get_jax.diffusion import create_process
from get_jax.diffusion.augmentation import Augmentation
from get_jax.diffusion.process import Process
from get_jax.errors import UsageError


def build_process(config: ml_collections.ConfigDict) -> Process:
  """Builds the diffusion process of `config.process`."""
  name, fields = name_and_fields(config.process)
  return create_process(name, **fields)


def build_augmentation(
  config: ml_collections.ConfigDict, model: nn.Module
) -> Augmentation | None:
  """Builds the augmentation of `config.augmentation`; None if it is empty.

  Raises:
    UsageError: a setting is unknown, images are rotated by 90 degrees whose
      height and width differ, or the network takes another number of
      augmentation labels than the augmentation gives.
  """
  fields = dict(config.get("augmentation", {}).items())
  if not fields:
    return None
  try:
    augmentation = Augmentation(**fields)
  except TypeError as error:
    raise UsageError(f"augmentation has wrong settings: {error}") from error
  height, width, _ = image_shape(model)
  if augmentation.rotate_int > 0 and height != width:
    raise UsageError(
      f"augmentation.rotate_int is {augmentation.rotate_int} and images are "
      f"{height}x{width}; expected 0, because a rotation by 90 degrees needs "
      "equal height and width"
    )
  expected, given = getattr(model, "augment_dim", 0), augmentation.num_labels
  if expected != given:
    raise UsageError(
      f"{config.model.name} takes {expected} augmentation labels; the "
      f"augmentation gives {given}"
    )
  return augmentation
