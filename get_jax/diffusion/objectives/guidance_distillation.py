"""Guidance as an input of the network, the first stage of guided distillation.

Source: Meng et al., "On Distillation of Guided Diffusion Models", 2023. The
second stage is progressive distillation of the network that is trained here.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from get_jax.diffusion.objectives.progressive_distillation import (
  TrajectoryDistillation,
  check_w_range,
  sample_w,
)
from get_jax.diffusion.process import as_float32, expand
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class GuidanceDistillation(TrajectoryDistillation):
  """A network with the scalar "w" predicts what its teacher does with guidance.

  The target is u + w (c - u), with the teacher's outputs c with and u without
  the label. w = 1 is no guidance; the paper's scale is w - 1. Positions on the
  trajectory are uniform.

  Attributes:
    w_range: range of the guidance scales, which are uniform.
  """

  network_fields: ClassVar[Mapping[str, Any]] = {"scalars": ("w",)}

  w_range: tuple[float, float] = (1.0, 5.0)

  def __post_init__(self):
    super().__post_init__()
    check_w_range("guidance_distillation", self.w_range)
    if self.null is None:
      raise UsageError(
        "task='guidance_distillation' needs a network with a null class or "
        "texts, and a teacher that was trained with label_dropout"
      )

  def sample_levels_and_noise(self, key, shape, step):
    """See `DataObjective.sample_levels_and_noise`; the levels are positions."""
    del step
    level_key, noise_key = jax.random.split(key)
    levels = jax.random.uniform(level_key, shape[:1], jnp.float32)
    return levels, jax.random.normal(noise_key, shape, jnp.float32)

  def prepare(self, batch, key, step=0):
    """See `DataObjective.prepare`; with "w"."""
    samples = super().prepare(batch, key, step)
    w = sample_w(key, self.w_range, len(samples["x0"]))
    return {**samples, "w": w}

  def target_noise(self, teacher, samples, key, x):
    """See `TrajectoryDistillation.target_noise`."""
    y, position = samples["y"], self.position(samples)
    null = self.replace_by_null(y, jnp.ones(len(y), bool))

    def predict(y):
      given = {**samples, "y": y}
      return self.noise_predictor(teacher, given, key, train=False)(x, position)

    conditional, unconditional = predict(y), predict(null)
    w = expand(as_float32(samples["w"]), x)
    return unconditional + w * (conditional - unconditional)
