"""Pipeline: images from a trained network in one call."""

import functools
import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Self

import jax
import ml_collections
import numpy as np
from jaxtyping import UInt8

from get_jax import weights
from get_jax.builders.conditioning import build_conditioning, text_shape
from get_jax.builders.config_file import load_config_file
from get_jax.builders.decoder import is_latent
from get_jax.builders.evaluator import build_conventions
from get_jax.builders.generator import build_generator
from get_jax.builders.model import build_model
from get_jax.builders.sampling_options import set_sampling_options
from get_jax.diffusion.noise import SampleNoise
from get_jax.errors import UsageError
from get_jax.evaluation import to_uint8
from get_jax.generation.attention_recording import (
  AttentionMoment,
  attention_moments,
)
from get_jax.generation.conditioning import Captions, Conditioning
from get_jax.generation.generator import Generator
from get_jax.generation.grids import save_grid
from get_jax.generation.image_sampler import ImageSampler
from get_jax.generation.prompts import Prompts, make_prompt_encoder
from get_jax.models.base import ImageModel
from get_jax.progress import ProgressBar
from get_jax.storage.paths import as_path
from get_jax.training.checkpoints import load_params
from get_jax.training.rng import named_key
from get_jax.training.sharding import make_mesh
from get_jax.training.workdir import read_config

_DENOISER_OPTIONS = ("steps", "guidance", "sampler")


class Pipeline:
  """Generates images with a trained network.

  The images are those of `--mode=sample`: image i of a call depends on the
  seed, on i and on its conditioning alone. They are generated on all devices of
  this process. A program is compiled at the first call with new settings or
  another batch size.

  Args:
    config: the experiment.
    params: parameters of the network.
    source: where the parameters are from, for `repr`.
    text_encoder: folder or name of the text encoder of a network that takes
      captions.

  Attributes:
    config: the experiment.
    model: the network, a `flax.linen.Module`.
    params: parameters of the network, replicated on the devices.
  """

  config: ml_collections.ConfigDict
  model: ImageModel
  params: dict[str, Any]

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    params: dict[str, Any],
    source: str = "parameters",
    text_encoder: str | os.PathLike[str] | None = None,
  ):
    self.config = ml_collections.ConfigDict(config.to_dict()).lock()
    self.model = build_model(config)
    self._source, self._text_encoder = source, text_encoder
    self._mesh = make_mesh((-1, 1, 1), jax.local_devices())
    self._samplers: dict[tuple, ImageSampler] = {}
    self._images: np.ndarray | None = None
    replicated = jax.sharding.NamedSharding(
      self._mesh, jax.sharding.PartitionSpec()
    )
    self.params = jax.device_put(params, replicated)

  @classmethod
  def load(
    cls,
    source: str | os.PathLike[str],
    *,
    step: int | None = None,
    autoencoder: str | os.PathLike[str] | None = None,
    text_encoder: str | os.PathLike[str] | None = None,
    accept_licence: bool = False,
  ) -> Self:
    """Loads a trained network.

    Args:
      source: workdir of a run, also in a bucket, whose averaged parameters
        (EMA) are used; or the name of a published network, as
        `--mode=weights` lists them. "get-digits" and "dit-digits" are part of
        this package; others are downloaded on first use.
      step: step of the checkpoint; None: the newest valid checkpoint.
      autoencoder: weights of the autoencoder that decodes latents, or their
        name; None: those of the config, or of the published scores.
      text_encoder: folder or name of the text encoder of a network that takes
        captions; None: that of the config.
      accept_licence: whether the user accepts a licence that excludes
        commercial use.

    Raises:
      UsageError: there is no such run or name, a file is missing, or the
        licence is not accepted.
    """
    source = os.fspath(source)
    if weights.is_published(source, "network"):
      if step is not None:
        raise UsageError(f"step is {step!r}, but {source} has no steps")
      entry = weights.find(source)
      config = load_config_file(entry.config)
      params = weights.load(source, accept_licence)
      autoencoder = autoencoder or entry.autoencoder
    else:
      config = _read_config(source)
      params = load_params(source, step=step)
    if autoencoder:
      config.autoencoder.weights = os.fspath(autoencoder)
    if text_encoder is None:
      captions = config.get("latents", {}).get("captions", {})
      text_encoder = captions.get("encoder")
    return cls(config, params, source, text_encoder)

  def __call__(
    self,
    *,
    class_labels: Sequence[int] | np.ndarray | None = None,
    captions: Sequence[str] | None = None,
    count: int | None = None,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
    iterations: int | None = None,
    batch_size: int | None = None,
    progress: bool = False,
  ) -> UInt8[np.ndarray, "n H W C"]:
    """Returns images, uint8 (n, H, W, C).

    Args:
      class_labels: class of each image (n,). By default the classes are
        uniformly random.
      captions: caption of each image (n,), for a network that takes text.
      count: n, if neither class_labels nor captions are given; 1 by default.
      seed: seed of the noise, and of random classes.
      steps: steps of the sampler; None: those of the config.
      guidance: scale w of classifier-free guidance, u + w (c - u) with the
        unconditional output u and the conditional output c; 1 is none. None:
        the guidance of the config.
      sampler: name of a sampler (`get_jax.diffusion.SAMPLERS`) with its default
        settings; None: that of the config.
      iterations: iterations of an equilibrium layer; None: those of the
        config.
      batch_size: images that are generated at once, rounded up to a multiple of
        the number of devices. None: n, but not more than
        `config.sampling.batch_size`.
      progress: whether to show a progress bar.

    Raises:
      UsageError: an argument is out of range or does not fit the network, or
        the network makes latents and no autoencoder is named.
    """
    requests = {"steps": steps, "guidance": guidance, "sampler": sampler}
    requests |= {"iterations": iterations}
    self._check_options(requests)
    self._check_decoded()
    count = self._count(class_labels, captions, count)
    _check_integer("seed", seed, 0, 2**32 - 1)
    size = self._batch_size(batch_size, count)
    image_sampler = self._sampler(tuple(requests.items()), size)
    image_sampler = image_sampler.with_key(named_key(seed, "sample"))
    ids = self._ids(class_labels, captions)
    offset = build_conventions(self.config).uint8_offset
    images = []
    with ProgressBar(
      total=count, desc="sampling", unit="image", disable=not progress
    ) as bar:
      for start in range(0, count, size):
        indices = np.arange(start, min(start + size, count))
        batch, _ = image_sampler.sample_batch(
          self.params, indices, None if ids is None else ids[indices]
        )
        images.append(to_uint8(batch, offset))
        bar.update(len(indices))
    self._images = np.concatenate(images)
    return self._images

  def attention_maps(
    self,
    *,
    class_labels: Sequence[int] | np.ndarray | None = None,
    captions: Sequence[str] | None = None,
    count: int | None = None,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    sampler: str | None = None,
    iterations: int | None = None,
    moments: int = 8,
    layers: Sequence[str] | None = None,
  ) -> list[AttentionMoment]:
    """Returns the attention probabilities while images are generated.

    The images are those of a call with the same arguments; latents are not
    decoded. Under guidance the maps are those of the conditional evaluation.

    Args:
      class_labels: see `__call__`.
      captions: see `__call__`.
      count: see `__call__`.
      seed: see `__call__`.
      steps: see `__call__`.
      guidance: see `__call__`.
      sampler: see `__call__`.
      iterations: see `__call__`.
      moments: number of evaluations of the network, evenly spaced, the first
        and the last included; with an equilibrium layer, of iterations.
      layers: paths of the attention layers, such as "blocks_0/attn"; None for
        all, which needs much memory in a large network.

    Returns:
      One entry per moment, in the order of the generation, with the maps by
      layer.

    Raises:
      UsageError: an argument is out of range or does not fit the network.
    """
    requests = {"steps": steps, "guidance": guidance, "sampler": sampler}
    requests |= {"iterations": iterations}
    self._check_options(requests)
    count = self._count(class_labels, captions, count)
    _check_integer("seed", seed, 0, 2**32 - 1)
    _check_integer("moments", moments, 1)
    key, indices = named_key(seed, "sample"), np.arange(count, dtype=np.uint32)
    ids = self._ids(class_labels, captions)
    if ids is None:
      ids = self._conditioning.sample_ids(key, indices)
    return attention_moments(
      self.model,
      self._generator_with(requests),
      jax.device_put(self.params, jax.local_devices()[0]),
      SampleNoise.create(key, indices),
      self._conditioning.model_inputs(ids),
      moments,
      layers,
    )

  def save_grid(
    self, path: str | os.PathLike[str], columns: int | None = None
  ) -> None:
    """Saves the images of the last call as one PNG.

    Args:
      path: the PNG; its folder is created if necessary.
      columns: images per row; None: the square root of n, rounded up.

    Raises:
      UsageError: there are no images yet, or the file cannot be written.
    """
    if self._images is None:
      raise UsageError("there are no images yet; expected a call before")
    if columns is not None:
      _check_integer("columns", columns, 1)
    try:
      save_grid(as_path(path), self._images, columns=columns)
    except OSError as error:
      raise UsageError(
        f"{os.fspath(path)} cannot be written ({error.strerror or error}); "
        "expected a PNG file in a writable folder"
      ) from error

  def __repr__(self) -> str:
    """Returns the source, the network, its images and how they are made."""
    generator = self._generator
    size = sum(leaf.size for leaf in jax.tree.leaves(self.params))
    height, width, channels = generator.output_shape
    parts = [
      f"{self.config.model.name} with {size:,} parameters",
      f"{height}x{width}x{channels} "
      + ("latents" if self._undecoded else "images"),
    ]
    if isinstance(self.config.model.get("num_classes"), int):
      parts.append(f"{self.config.model.num_classes} classes")
    how = generator.sampler
    if generator.steps is not None:
      unit = "iterations" if self._has_equilibrium else "steps"
      how += f" with {generator.steps} {unit}"
    if generator.guidance != "none":
      how += f", guidance {generator.guidance}"
    return f"Pipeline({self._source!r}: {', '.join([*parts, how])})"

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Returns the shape (H, W, C) of an image.

    Raises:
      UsageError: the network makes latents and no autoencoder is named.
    """
    self._check_decoded()
    return self._generator.output_shape

  @property
  def _is_one_step(self) -> bool:
    return self.config.task == "distillation"

  @property
  def _has_equilibrium(self) -> bool:
    return hasattr(self.model, "state_shape")

  @property
  def _undecoded(self) -> bool:
    return is_latent(self.config) and not self.config.autoencoder.weights

  @functools.cached_property
  def _conditioning(self) -> Conditioning:
    shape, y = (
      text_shape(self.config, self.model),
      self.model.abstract_conditioning(1),
    )
    if shape is None or y is None:
      return build_conditioning(self.config, self.model)
    if not self._text_encoder:
      raise UsageError(
        f"{self.config.model.name} takes captions and no text encoder is "
        "named; expected Pipeline.load(..., "
        "text_encoder='clip-vit-large-patch14'), or its folder"
      )
    folder = weights.locate(
      os.fspath(self._text_encoder), "text encoder", "text_encoder"
    )
    prompts = Prompts(make_prompt_encoder(folder), folder, shape)
    return Captions(prompts, y.dtype)

  @functools.cached_property
  def _generator(self) -> Generator:
    """The generator with the settings of the config."""
    return build_generator(self.config, conditioning=self._conditioning)

  def _check_options(self, requests: dict[str, Any]) -> None:
    """Checks that the network has what the requested options set."""
    name = self.config.model.name
    given = [key for key, value in requests.items() if value is not None]
    for option in given:
      if option in _DENOISER_OPTIONS and self._is_one_step:
        raise UsageError(
          f"{option} is {requests[option]!r}, but {name} makes images in one "
          "call; expected no option of a sampler"
        )
      if option == "iterations" and not self._has_equilibrium:
        raise UsageError(
          f"iterations is {requests[option]!r}, but {name} has no equilibrium "
          "layer; expected None"
        )

  def _check_decoded(self) -> None:
    """Checks that the pipeline makes images, not latents."""
    if self._undecoded:
      name = self.config.model.name
      raise UsageError(
        f"{name} makes latents of {self.config.autoencoder.name!r} and no "
        "autoencoder is named; expected Pipeline.load(..., autoencoder=WEIGHTS)"
      )

  def _count(
    self,
    labels: Sequence[int] | np.ndarray | None,
    captions: Sequence[str] | None,
    count: int | None,
  ) -> int:
    """Returns the number of images of a call."""
    name = self.config.model.name
    takes_text = text_shape(self.config, self.model) is not None
    if labels is not None and (takes_text or not self.model.num_classes):
      kind = "captions" if takes_text else "no conditioning"
      raise UsageError(
        f"class_labels are given, but {name} takes {kind}; expected none"
      )
    if captions is not None and not takes_text:
      kind = "class labels" if self.model.num_classes else "no conditioning"
      raise UsageError(
        f"captions are given, but {name} takes {kind}; expected none"
      )
    if isinstance(captions, str):
      raise UsageError("captions is a string; expected a list of strings")
    if takes_text and captions is None:
      raise UsageError(f"{name} takes captions; expected a list of strings")
    given = labels if labels is not None else captions
    if given is None:
      count = 1 if count is None else count
    elif count is not None and count != len(given):
      raise UsageError(
        f"count is {count} and there are {len(given)} conditions; expected one "
        "of the two"
      )
    else:
      count = len(given)
    _check_integer("count", count, 1)
    return count

  def _ids(
    self,
    labels: Sequence[int] | np.ndarray | None,
    captions: Sequence[str] | None,
  ) -> np.ndarray | None:
    """Returns the condition IDs of the images; None: random classes."""
    if captions is not None:
      assert isinstance(self._conditioning, Captions)
      assert isinstance(self._conditioning.texts, Prompts)
      return self._conditioning.texts.add(list(captions))
    if labels is None:
      return None
    ids = np.asarray(labels)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
      raise UsageError(
        f"class_labels has shape {ids.shape} and dtype {ids.dtype}; expected a "
        "list of integers"
      )
    self._conditioning.model_inputs(ids)  # checks the range
    return ids.astype(np.int32)

  def _batch_size(self, batch_size: int | None, count: int) -> int:
    size = batch_size
    if size is None:
      size = min(count, self.config.sampling.batch_size)
    _check_integer("batch_size", size, 1)
    return -(-size // self._mesh.size) * self._mesh.size

  def _sampler(self, requests: tuple, batch_size: int) -> ImageSampler:
    """Returns the sampler of these options, built at their first use."""
    if (requests, batch_size) not in self._samplers:
      generator = self._generator_with(dict(requests))
      self._samplers[requests, batch_size] = ImageSampler(
        generator, named_key(0, "sample"), batch_size, self._mesh
      )
    return self._samplers[requests, batch_size]

  def _generator_with(self, requests: dict[str, Any]) -> Generator:
    """Returns a generator with these options."""
    if all(value is None for value in requests.values()):
      return self._generator
    config = set_sampling_options(self.config, **requests)
    # The decoder stays, so that its weights are read once.
    config.autoencoder.weights = ""
    generator = build_generator(config, conditioning=self._conditioning)
    return generator.with_decoder(self._generator.decoder)


def _read_config(workdir: str) -> ml_collections.ConfigDict:
  """Reads the config of a run; other sources are compared with known names."""
  try:
    return read_config(workdir)
  except UsageError as error:
    if as_path(workdir).exists():
      raise
    raise UsageError(
      f"{workdir} is neither the workdir of a run nor the name of a published "
      f"network; {weights.suggest_names(workdir, 'network')}"
    ) from error


def _check_integer(
  name: str, value: Any, low: int, high: int | None = None
) -> None:
  """Raises a UsageError unless low <= value <= high."""
  is_integer = isinstance(value, Integral) and not isinstance(value, bool)
  if not is_integer or value < low or (high is not None and value > high):
    limits = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise UsageError(f"{name} is {value!r}; expected an integer {limits}")
