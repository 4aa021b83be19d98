"""Distillation loss on noise/image pairs (GET, section 3)."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from get_jax.diffusion.noise import SampleNoise
from get_jax.diffusion.objectives.base import Batch, Objective, Params


@dataclasses.dataclass(frozen=True)
class Distillation(Objective):
  """Weighted distance between the student's outputs and the teacher's image.

  Output k = 1..K (one per recorded iterate of an equilibrium layer, or a
  single one) has the weight decay^(K-k), not normalised. This is the
  fixed-point correction that the official GET code trains with. The paper
  gives only the last term.

  Attributes:
    generate: (params, samples) -> (K, B, H, W, C): all outputs for the noise
      of the pairs; the initial states are generated from the keys "start".
    distance: "l1" or "l2", averaged over pixels and samples.
    decay: ratio of an output's weight to that of the next output.
  """

  generate: Callable[[Params, Batch], jax.Array]
  distance: str = "l1"
  decay: float = 0.8

  @property
  def metric_names(self):
    """See `Objective`; the metric is the distance of the last output."""
    return (f"{self.distance}_last",)

  def prepare(self, batch, key, step=0):
    """See `Objective.prepare`.

    Args:
      batch: "index" (B,), "image" (B, H, W, C), "label" (B,) if the pairs have
        labels, and "noise" (B, H, W, C) if it is not a function of the index.
      key: PRNG key of the step.
      step: not used.

    Returns:
      The batch with "start", a PRNG key (B,) for each pair.
    """
    del step
    return {**batch, "start": SampleNoise.create(key, batch["index"]).keys}

  def loss(self, params, samples, key, targets):
    """See `Objective.loss`."""
    del key, targets
    outputs = self.generate(params, samples)
    error = outputs.astype(jnp.float32) - samples["image"][None]
    error = jnp.abs(error) if self.distance == "l1" else jnp.square(error)
    distances = error.mean(axis=(1, 2, 3, 4))
    exponents = jnp.arange(len(distances), dtype=jnp.float32)[::-1]
    loss = jnp.sum(self.decay**exponents * distances)
    return loss, {f"{self.distance}_last": distances[-1]}
