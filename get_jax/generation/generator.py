"""Generator: maps parameters, sample noise and conditioning to images.

One-step generators and samplers around guided denoisers have the same
interface, optionally followed by a decoder of latents. Sampling, evaluation,
pairs, previews and benchmarks all use it.
"""

import dataclasses
from collections.abc import Callable

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from get_jax.diffusion.noise import SampleNoise
from get_jax.generation.conditioning import Conditioning
from get_jax.generation.decoder import Decoder
from get_jax.training.sharding import BATCH_SPEC


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
  """A function from noise to images, with its settings.

  It keeps its compiled programs, so that it is compiled once for each mesh and
  batch size.

  Attributes:
    generate: pure function (params, noise: SampleNoise, y) -> (B, H, W, C)
      float32: images, nominally in [-1, 1] and not clipped, or latents.
    nfe: number of network evaluations per image; None for an adaptive sampler.
    image_shape: (H, W, C) of the image or latent.
    conditioning: conditioning of the samples.
    sampler: name of the sampler, or "one call".
    steps: number of sampler steps or equilibrium iterations; None if the
      generator has neither.
    guidance: description of the guidance, such as "1.5 on 3 channels", or
      "none".
    settings: everything that determines the images, except parameters and
      noise.
    decoder: decoder of latents; None if `generate` returns images, or if its
      latents are not decoded.
  """

  generate: Callable[..., jax.Array]
  nfe: int | None
  image_shape: tuple[int, int, int]
  conditioning: Conditioning
  sampler: str
  steps: int | None
  guidance: str
  settings: dict
  decoder: Decoder | None = None
  _programs: dict[Mesh, Callable[..., jax.Array]] = dataclasses.field(
    default_factory=dict, init=False, repr=False
  )

  @property
  def output_shape(self) -> tuple[int, int, int]:
    """(H, W, C) of the final output, after the decoder if there is one."""
    height, width, _ = self.image_shape
    if not self.decoder:
      return self.image_shape
    scale = self.decoder.model.downsample
    return height * scale, width * scale, 3

  def with_decoder(self, decoder: Decoder | None) -> "Generator":
    """Returns a copy of the generator with this decoder, or without one."""
    settings = {k: v for k, v in self.settings.items() if k != "decoder"}
    if decoder:
      settings["decoder"] = decoder.settings
    return dataclasses.replace(self, decoder=decoder, settings=settings)

  def compiled(self, mesh: Mesh) -> Callable[..., jax.Array]:
    """Returns `make_sample_fn(self, mesh)`, compiled.

    The batch of images is sharded over the mesh. If the mesh spans processes,
    every process gets all images.
    """
    if mesh not in self._programs:
      spans_processes = mesh.size > len(mesh.local_devices)
      spec = PartitionSpec() if spans_processes else BATCH_SPEC
      self._programs[mesh] = jax.jit(
        make_sample_fn(self, mesh), out_shardings=NamedSharding(mesh, spec)
      )
    return self._programs[mesh]


def make_sample_fn(
  generator: Generator, mesh: Mesh
) -> Callable[..., jax.Array]:
  """Returns the sampling function of a generator, to be compiled with `jit`.

  Args:
    generator: the generator.
    mesh: mesh over which the batch is sharded.

  Returns:
    A function (params, decoder_params, key, indices, y) -> images (B, H, W, C).
    Sample i depends only on (key, i) and on its conditioning.
  """

  def sample_fn(params, decoder_params, key, indices, y):
    images = generator.generate(params, SampleNoise.create(key, indices), y)
    if generator.decoder:
      images = generator.decoder(decoder_params, images, mesh)
    return images

  return sample_fn
