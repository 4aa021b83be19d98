"""Generators: map parameters, sample noise and conditioning to images."""

from get_jax.generation.attention_recording import (
  AttentionMoment,
  attention_moments,
)
from get_jax.generation.conditioning import (
  Captions,
  ClassLabels,
  Conditioning,
  Unconditional,
)
from get_jax.generation.decoder import Decoder
from get_jax.generation.generator import Generator, make_sample_fn
from get_jax.generation.image_sampler import ImageSampler

__all__ = [
  "AttentionMoment",
  "Captions",
  "ClassLabels",
  "Conditioning",
  "Decoder",
  "Generator",
  "ImageSampler",
  "Unconditional",
  "attention_moments",
  "make_sample_fn",
]
