"""Learning to denoise: what a training step minimises."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from get_jax.diffusion.process import Process


@dataclasses.dataclass(frozen=True)
class Denoising:
  """The mean loss of a process over a batch, with labels dropped at random.

  Attributes:
    apply: (params, x, t, y, key) -> the network's raw output; the key is for
      dropout inside it.
    process: noises the data and weighs the error.
    null: label that stands for "no class"; needed with `label_dropout`.
    label_dropout: probability that a label is replaced by `null`.
  """

  apply: Callable
  process: Process
  null: int | None = None
  label_dropout: float = 0.0

  def __call__(self, params, batch, key):
    """See `get_jax.training.step.make_train_step`.

    Args:
      params: parameters of the network.
      batch: "image" (B, H, W, C) in [-1, 1], and "label" (B,) or none.
      key: PRNG key of the step.

    Returns:
      The scalar loss and further metrics, float32.
    """
    label_key, process_key, dropout_key = jax.random.split(key, 3)
    y = batch.get("label")
    if y is not None and self.label_dropout:
      dropped = jax.random.bernoulli(label_key, self.label_dropout, y.shape)
      y = jnp.where(dropped, self.null, y)

    def net(x, t):
      return self.apply(params, x, t, y, dropout_key)

    losses, metrics = self.process.loss(net, batch["image"], process_key)
    return losses.mean(), {k: v.mean() for k, v in metrics.items()}
