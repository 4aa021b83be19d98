"""Builds the autoencoder and the latent decoder of a config."""

import pathlib

import ml_collections

from get_jax.autoencoder import AutoencoderKL
from get_jax.errors import UsageError
from get_jax.generation.decoder import Decoder
from get_jax.training.checkpoints import params_digest
from get_jax.weights import load_autoencoder

# Top-level modules of AutoencoderKL that decoding uses.
_DECODER_MODULES = ("post_quant_conv", "decoder")


def build_decoder(
  config: ml_collections.ConfigDict, channels: int
) -> Decoder | None:
  """Builds the decoder of latents; None if the config names no weights.

  Args:
    config: the experiment. If its latents have a scaling factor of their own
      (`data.scaling_factor`), they are decoded with the same one.
    channels: number of channels of the latents.

  Raises:
    UsageError: the weights are missing, or are for another number of latent
      channels.
  """
  section = config.autoencoder
  if not section.weights:
    return None
  data = config.teacher.data if config.task == "distillation" else config.data
  scale = data.get("scaling_factor")
  fields = {"scaling_factor": scale} if scale else {}
  model, params = build_autoencoder(section, **fields)
  if model.latent_channels != channels:
    raise UsageError(
      f"autoencoder.weights={section.weights} is for latents of "
      f"{model.latent_channels} channels; {config.model.name} with these "
      f"settings makes {channels}"
    )
  decoder_params = {
    name: params[name] for name in _DECODER_MODULES if name in params
  }
  digest = params_digest(decoder_params)
  name = f"{pathlib.Path(section.weights).name}, digest {digest}"
  return Decoder(model, decoder_params, section.batch_size, name)


def build_autoencoder(
  section: ml_collections.ConfigDict, **fields
) -> tuple[AutoencoderKL, dict]:
  """Builds an autoencoder and loads its weights.

  Args:
    section: `config.autoencoder`: name, weights and dtype.
    **fields: fields of `AutoencoderKL` that override the published ones.

  Returns:
    The module and its parameters.

  Raises:
    UsageError: the section names no weights, or they do not fit.
  """
  if not section.weights:
    raise UsageError(
      "autoencoder.weights is empty; expected the folder, file or name of the "
      f"weights of {section.name or 'an autoencoder'!r}"
    )
  named = {"name": section.name} if section.name else {}
  return load_autoencoder(
    section.weights, **named, dtype=section.dtype, **fields
  )


def is_latent(config: ml_collections.ConfigDict) -> bool:
  """Returns whether the network works on latents instead of images."""
  return bool(config.autoencoder.name)


def check_decodable(config: ml_collections.ConfigDict) -> None:
  """Checks that the samples of an experiment are images or can be decoded.

  Raises:
    UsageError: the samples are latents and the config names no decoder.
  """
  section = config.autoencoder
  if is_latent(config) and not section.weights:
    raise UsageError(
      f"{config.model.name} makes latents of {section.name!r} and "
      "autoencoder.weights is empty; expected the folder or file of the "
      "autoencoder that decodes them, because scores compare images"
    )
