"""Builds the autoencoder and the decoder of a config."""

import pathlib

from get_jax.autoencoder import AutoencoderKL
from get_jax.errors import UsageError
from get_jax.generation.decoder import Decoder
from get_jax.interop.folders import load_autoencoder
from get_jax.training.checkpoints import params_digest

_HALF = ("post_quant_conv", "decoder")


def read_autoencoder(section, **fields) -> tuple[AutoencoderKL, dict]:
  """The autoencoder of `config.autoencoder` with its weights.

  Args:
    section: name, weights and dtype.
    **fields: of `AutoencoderKL`, in place of the published ones.

  Raises:
    UsageError: no weights are named, or they do not fit.
  """
  if not section.weights:
    raise UsageError(
      "autoencoder.weights is empty; expected the folder or file of the "
      f"weights of {section.name or 'an autoencoder'!r}"
    )
  named = {"name": section.name} if section.name else {}
  return load_autoencoder(
    section.weights, **named, dtype=section.dtype, **fields
  )


def build_decoder(config, channels: int) -> Decoder | None:
  """The decoder of an experiment; None where none is named.

  Args:
    config: the experiment; latents that are trained on with a scale of their
      own (`data.scaling_factor`) are decoded with the same.
    channels: of the latents.

  Raises:
    UsageError: the weights are missing, or are of other latents.
  """
  section = config.autoencoder
  if not section.weights:
    return None
  data = config.teacher.data if config.task == "distillation" else config.data
  scale = data.get("scaling_factor")
  fields = {"scaling_factor": scale} if scale else {}
  model, params = read_autoencoder(section, **fields)
  if model.latent_channels != channels:
    raise UsageError(
      f"autoencoder.weights={section.weights} is of latents of "
      f"{model.latent_channels} channels; {config.model.name} with these "
      f"settings makes {channels}"
    )
  half = {name: params[name] for name in _HALF if name in params}
  name = f"{pathlib.Path(section.weights).name}, digest {params_digest(half)}"
  return Decoder(model, half, section.batch_size, name)


def is_latent(config) -> bool:
  """Whether the network of an experiment sees latents, not images."""
  return bool(config.autoencoder.name)


def check_pixels(config) -> None:
  """Refuses latents where pixels are needed.

  Raises:
    UsageError: the experiment is one of latents, and has no decoder.
  """
  section = config.autoencoder
  if is_latent(config) and not section.weights:
    raise UsageError(
      f"{config.model.name} makes latents of {section.name!r} and "
      "autoencoder.weights is empty; expected the folder or file of the "
      "autoencoder that decodes them, for scores are of images"
    )
