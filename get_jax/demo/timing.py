"""Images of a pipeline with the time that they take, and residuals."""

import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from get_jax.builders.conditioning import build_conditioning
from get_jax.builders.model import build_student
from get_jax.diffusion.noise import SampleNoise
from get_jax.pipeline import Pipeline
from get_jax.training.rng import named_key


@dataclasses.dataclass(frozen=True)
class TimedImages:
  """Images of one call.

  Attributes:
    images: uint8 (n, H, W, C).
    seconds: time of the call.
    compiled: whether the call compiled its program.
  """

  images: UInt8[np.ndarray, "n H W C"]
  seconds: float
  compiled: bool


class TimedPipeline:
  """Calls a pipeline, and measures the time of each call.

  Args:
    pipeline: the pipeline.
  """

  def __init__(self, pipeline: Pipeline):
    self.pipeline = pipeline
    self._compiled: set[tuple] = set()
    self._residuals: Any = None

  def __call__(
    self,
    *,
    count: int,
    seed: int,
    class_labels: Sequence[int] | None = None,
    captions: Sequence[str] | None = None,
    **options: Any,
  ) -> TimedImages:
    """Returns the images of `Pipeline(...)` for the same arguments.

    Args:
      count: number of images, generated in one batch.
      seed: seed of the noise.
      class_labels: see `Pipeline.__call__`.
      captions: see `Pipeline.__call__`.
      **options: steps, guidance, sampler and iterations of `Pipeline.__call__`.

    Raises:
      UsageError: see `Pipeline.__call__`.
    """
    start = time.perf_counter()
    images = self.pipeline(
      class_labels=class_labels,
      captions=captions,
      count=count,
      seed=seed,
      batch_size=count,
      **options,
    )
    seconds = time.perf_counter() - start
    program = (count, *sorted(options.items()))
    compiled = program not in self._compiled
    self._compiled.add(program)
    return TimedImages(images, seconds, compiled)

  def shared_arguments(self, arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments that give corresponding images of this network.

    They are the number, the noise and the classes; the sampler and its options
    are those of its own config.

    Args:
      arguments: arguments of a call of another network.
    """
    names = {"count", "seed"}
    if self.pipeline.model.num_classes:
      names.add("class_labels")
    return {name: arguments[name] for name in names & arguments.keys()}

  def residuals(
    self,
    *,
    count: int,
    seed: int,
    class_labels: Sequence[int] | None = None,
    iterations: int,
  ) -> Float[np.ndarray, "iterations n"]:
    """Returns the relative residual ||f(z) - z|| / ||f(z)|| of every iteration.

    These are the residuals of the images that a call with the same arguments
    returns. A sample whose iteration has ended keeps its last residual.

    Args:
      count: number of images.
      seed: seed of the noise.
      class_labels: classes (n,); None: those of the call.
      iterations: iterations of the equilibrium layer.
    """
    pipeline, indices = self.pipeline, np.arange(count)
    key = named_key(seed, "sample")
    conditioning = build_conditioning(pipeline.config, pipeline.model)
    if class_labels is None:
      ids = conditioning.sample_ids(key, indices)
    else:
      ids = np.asarray(class_labels, np.int32)
    if self._residuals is None:
      student = build_student(pipeline.config, pipeline.model)

      def residuals(params, key, indices, y, iterations):
        noise = SampleNoise.create(key, indices)
        return student.residuals(params, noise, y, iterations)

      self._residuals = jax.jit(residuals, static_argnames="iterations")
    y = conditioning.model_inputs(ids)
    found = np.array(
      self._residuals(pipeline.params, key, indices, y, iterations)
    )
    for before, now in itertools.pairwise(found):
      np.copyto(now, before, where=np.isnan(now))
    return found
