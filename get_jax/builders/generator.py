"""Generating: parameters, sample noise and conditions to images.

One-step generators, and samplers wrapped round guided denoisers, look the same
from here on, with the decoder of latents behind them; sampling, scoring, pairs,
previews and benchmarks all use this.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from get_jax.diffusion import Guidance, create_sampler
from get_jax.diffusion.noise import SampleNoise
from get_jax.builders.build import (
  build_condition,
  build_model,
  build_process,
  build_student,
  image_shape,
  settings,
)
from get_jax.generation.conditioning import Condition, Unconditional
from get_jax.builders.decoder import Decoder, build_decoder
from get_jax.training.workdir import plain
from get_jax.training.preemption import Stopped, stop_requests
from get_jax.training.sharding import BATCH, check_batch_size


@dataclasses.dataclass(frozen=True)
class Generator:
  """What turns noise into images.

  Attributes:
    generate: pure (params, noise: SampleNoise, y) -> (B, H, W, C) float32,
      nominally in [-1, 1] and not clipped, or latents.
    evaluations: network evaluations per image.
    image_shape: (H, W, C) of the image or latent.
    condition: what the samples show.
    sampler: its name, or "one call".
    steps: of the sampler, or equilibrium iterations; None where it has none.
    guidance: such as "1.5 on 3 channels", or "none".
    settings: everything that decides the images but parameters and noise.
    decoder: of latents; None for images, and for latents that stay latents.
  """

  generate: Callable
  evaluations: int
  image_shape: tuple[int, int, int]
  condition: Condition
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


def build_generator(
  config,
  iterations: int | None = None,
  condition: Condition | None = None,
) -> Generator:
  """The generator of an experiment; latents are decoded if that is possible.

  Args:
    config: the experiment.
    iterations: equilibrium iterations, where they are to differ from
      `config.sampling.iterations`.
    condition: what samples show; None makes it from the config.
  """
  undecoded = _build_undecoded(config, iterations, condition)
  decoder = build_decoder(config, undecoded.image_shape[-1])
  return undecoded.with_decoder(decoder)


def _build_undecoded(config, iterations, condition) -> Generator:
  model = build_model(config)
  shape = image_shape(model)
  condition = condition or build_condition(config, model)
  if config.task == "distillation":
    student = build_student(config, model)
    steps = iterations or config.sampling.iterations

    def generate(params, noise, y):
      return student(params, noise, y, steps)

    if not student.has_equilibrium:
      steps = None
    made = {
      "model": plain(config.model),
      "equilibrium": plain(config.equilibrium),
      "iterations": steps,
      "z0": student.z0,
    }
    return Generator(
      generate, 1, shape, condition, "one call", steps, "none", made
    )

  process = build_process(config)
  name, fields = settings(config.sampler)
  sampler = create_sampler(name, process, **fields)
  guidance = Guidance(**config.guidance)
  null = condition.null
  guidance.check(not isinstance(condition, Unconditional), null is not None)

  def generate(params, noise, y):
    def net(x, t, y):
      return model.apply({"params": params}, x, t, y)

    guided = guidance(net, y, null, process.sigma_of)
    return sampler(guided, noise, shape)

  sections = ("model", "process", "sampler", "guidance")
  return Generator(
    generate,
    sampler.evaluations,
    shape,
    condition,
    name,
    fields.get("num_steps", fields.get("steps")),
    guidance.describe(),
    {section: plain(config[section]) for section in sections}
    | condition.facts(),
  )


def sampling_function(generator: Generator, mesh: Mesh) -> Callable:
  """(params, decoder_params, key, indices, y) -> images (B, H, W, C); for jit.

  Sample i depends on (key, i) and its condition alone.
  """

  def make(params, decoder_params, key, indices, y):
    images = generator.generate(params, SampleNoise.of(key, indices), y)
    if generator.decoder:
      images = generator.decoder(decoder_params, images, mesh)
    return images

  return make


class ImageMaker:
  """Draws samples by index, in batches over a mesh, compiled once.

  Sample i depends on (key, i) and its condition alone: neither on the batch
  size nor on the mesh.

  Raises:
    UsageError: the batch size does not fit the mesh.
  """

  def __init__(
    self,
    generator: Generator,
    key: jax.Array,
    batch_size: int,
    mesh: Mesh,
  ):
    check_batch_size(batch_size, mesh, "sampling.batch_size")
    self.generator, self.mesh = generator, mesh
    self.batch_size = batch_size
    self._whole = NamedSharding(mesh, PartitionSpec())
    self._split = NamedSharding(mesh, BATCH)
    self._key = key
    decoder = generator.decoder
    self._decoder = decoder and jax.device_put(decoder.params, self._whole)
    make = sampling_function(generator, mesh)
    # Every process gets all images of a mesh that it shares with others.
    shared = mesh.size > len(mesh.local_devices)
    placed = self._whole if shared else self._split
    self._make = jax.jit(make, out_shardings=placed)

  def place(self, params: dict) -> dict:
    """The parameters on every device of the mesh, as `batch` takes them."""
    return jax.device_put(params, self._whole)

  def batch(
    self, params: dict, indices: np.ndarray, chosen: np.ndarray | None = None
  ):
    """Samples `indices` (n <= batch_size,) of given or own conditions.

    Args:
      params: parameters of the generator, placed.
      indices: of the samples.
      chosen: numbers (n,) of what they show, see `Condition`; None takes each
        one's own.

    Returns:
      Images (n, H, W, C) float32 and the numbers (n,) int32 of what they show,
      or None, on the host.
    """
    count, condition = len(indices), self.generator.condition
    # The last sample again, as often as the batch is short of some.
    rows = np.minimum(np.arange(self.batch_size), count - 1)
    indices = np.asarray(indices, np.uint32)[rows]
    if chosen is None:
      chosen = condition.choose(self._key, indices)
    else:
      chosen = np.asarray(chosen)[rows]
    arguments = jax.device_put((indices, condition.inputs(chosen)), self._split)
    with jax.set_mesh(self.mesh):
      images = self._make(params, self._decoder, self._key, *arguments)
    images = np.asarray(images)[:count]
    return images, None if chosen is None else chosen[:count]

  def parts(
    self,
    params: dict,
    parts: Sequence[np.ndarray],
    chosen: np.ndarray | None = None,
    description: str = "sampling",
  ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Samples of each of `parts` in turn, with a progress bar over all.

    Args:
      params: parameters of the generator.
      parts: indices (n,) each.
      chosen: numbers of what the samples of all parts show; None takes each
        one's own.
      description: shown in the bar.

    Yields:
      As `batch` returns, for each part.

    Raises:
      Stopped: a signal came.
    """
    params = self.place(params)
    total, done = sum(map(len, parts)), 0
    with (
      stop_requests() as stop_asked,
      tqdm(
        total=total,
        desc=description,
        unit="image",
        disable=jax.process_index() != 0,
      ) as bar,
    ):
      for part in parts:
        found = []
        for start in range(0, len(part), self.batch_size):
          if stop_asked(f"{description}, image {done} of {total}"):
            raise Stopped(f"{description} stopped after {done} of {total}")
          here = part[start : start + self.batch_size]
          these = None if chosen is None else chosen[done : done + len(here)]
          found.append(self.batch(params, here, these))
          done += len(here)
          bar.update(len(here))
        images, made = zip(*found, strict=True)
        yield (
          np.concatenate(images),
          None if made[0] is None else np.concatenate(made),
        )

  def all(self, params, indices, chosen=None, description="sampling"):
    """`parts` of one part."""
    ((images, made),) = self.parts(
      params, [np.asarray(indices)], chosen, description
    )
    return images, made
