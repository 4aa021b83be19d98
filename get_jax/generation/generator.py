"""Generator: maps parameters, sample noise and conditioning to images.

One-step generators and samplers around guided denoisers have the same
interface, with the decoder of latents behind them. Sampling, evaluation, pairs,
previews and benchmarks all use it.
"""

import dataclasses
from collections.abc import Callable

from jax.sharding import Mesh

from get_jax.diffusion.noise import SampleNoise
from get_jax.generation.conditioning import Conditioning
from get_jax.generation.decoder import Decoder


@dataclasses.dataclass(frozen=True)
class Generator:
  """What turns noise into images.

  Attributes:
    generate: pure (params, noise: SampleNoise, y) -> (B, H, W, C) float32,
      nominally in [-1, 1] and not clipped, or latents.
    evaluations: network evaluations per image.
    image_shape: (H, W, C) of the image or latent.
    conditioning: what the samples show.
    sampler: its name, or "one call".
    steps: of the sampler, or equilibrium iterations; None where it has none.
    guidance: such as "1.5 on 3 channels", or "none".
    settings: everything that decides the images but parameters and noise.
    decoder: of latents; None for images, and for latents that stay latents.
  """

  generate: Callable
  evaluations: int
  image_shape: tuple[int, int, int]
  conditioning: Conditioning
  sampler: str
  steps: int | None
  guidance: str
  settings: dict
  decoder: Decoder | None = None

  @property
  def output_shape(self) -> tuple[int, int, int]:
    """(H, W, C) of what comes out in the end."""
    height, width, _ = self.image_shape
    if not self.decoder:
      return self.image_shape
    scale = self.decoder.model.downsample
    return height * scale, width * scale, 3

  def with_decoder(self, decoder: Decoder | None) -> "Generator":
    """The same with a decoder behind it, or without one."""
    settings = {k: v for k, v in self.settings.items() if k != "decoder"}
    if decoder:
      settings["decoder"] = decoder.settings
    return dataclasses.replace(self, decoder=decoder, settings=settings)


def sampling_function(generator: Generator, mesh: Mesh) -> Callable:
  """(params, decoder_params, key, indices, y) -> images (B, H, W, C); for jit.

  Sample i depends on (key, i) and its conditioning alone.
  """

  def make(params, decoder_params, key, indices, y):
    images = generator.generate(params, SampleNoise.of(key, indices), y)
    if generator.decoder:
      images = generator.decoder(decoder_params, images, mesh)
    return images

  return make
