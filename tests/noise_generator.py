"""A generator of noise, which needs no network."""

from get_jax.generation.conditioning import ClassLabels
from get_jax.generation.generator import Generator

GENERATOR = Generator(
  lambda params, noise, y: noise(0, (64, 64, 3)),
  nfe=1,
  image_shape=(64, 64, 3),
  conditioning=ClassLabels(10, None),
  sampler="none",
  steps=None,
  guidance="none",
  settings={},
)
