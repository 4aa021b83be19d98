"""Builds the diffusion process of a config and its augmentation."""

from get_jax.builders.sections import name_and_fields
from get_jax.diffusion import create_process
from get_jax.diffusion.augmentation import Augmentation
from get_jax.errors import UsageError


def build_process(config):
  """The diffusion process of `config.process`."""
  name, fields = name_and_fields(config.process)
  return create_process(name, **fields)


def build_augmentation(config, model) -> Augmentation | None:
  """The augmentation of `config.augmentation`; None where that is empty.

  Raises:
    UsageError: a setting is unknown, or the network does not take as many
      labels as the augmentation gives.
  """
  fields = dict(config.get("augmentation", {}).items())
  if not fields:
    return None
  try:
    augmentation = Augmentation(**fields)
  except TypeError as error:
    raise UsageError(f"augmentation does not fit: {error}") from error
  taken, given = getattr(model, "augment_dim", 0), augmentation.num_labels
  if taken != given:
    raise UsageError(
      f"{config.model.name} takes {taken} labels of an augmentation; "
      f"augmentation has {given}"
    )
  return augmentation
