"""Learning one-step generation from noise/image pairs (GET, section 3)."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from get_jax.diffusion.noise import SampleNoise


@dataclasses.dataclass(frozen=True)
class Distillation:
  """The weighted distance of each tracked output to the teacher's image.

  Outputs k = 1..K (the decoded iterates of an equilibrium layer, or one) are
  weighed by decay^(K-k), not normalised: the fixed-point correction that the
  official GET trains with. The paper states the last term alone.

  Attributes:
    generate: (params, samples) -> (K, B, H, W, C): all outputs for the noise
      of the pairs, from starts that are drawn from the keys "start".
    distance: "l1" or "l2", averaged over pixels and samples.
    decay: weight of an output over that of the next.
  """

  generate: Callable
  distance: str = "l1"
  decay: float = 0.8

  def __call__(self, params, batch, key):
    """The loss of a batch; see `get_jax.training.step.make_train_step`.

    Args:
      params: parameters of the student.
      batch: "index" (B,), "image" (B, H, W, C), "label" (B,) or none, and
        "noise" (B, H, W, C) where it is not a function of the index.
      key: PRNG key of the step.

    Returns:
      The scalar loss and the distance of the last output.
    """
    return self.loss(params, self.prepare(batch, key), key)

  def prepare(self, batch, key):
    """The batch with a key "start" (B,) for each of its pairs."""
    return {**batch, "start": SampleNoise.of(key, batch["index"]).keys}

  def loss(self, params, samples, key):
    """The loss of samples of `prepare`; nothing else is random."""
    del key
    outputs = self.generate(params, samples)
    error = outputs.astype(jnp.float32) - samples["image"]
    error = jnp.abs(error) if self.distance == "l1" else jnp.square(error)
    distances = error.mean(axis=(1, 2, 3, 4))
    ages = jnp.arange(len(distances))[::-1]
    loss = jnp.sum(self.decay**ages * distances)
    return loss, {f"{self.distance}_last": distances[-1]}
