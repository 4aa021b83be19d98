"""Learning to denoise: what a training step minimises."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from get_jax.diffusion.process import Process, expand


@dataclasses.dataclass(frozen=True)
class Denoising:
  """The mean loss of a process over a batch, with labels dropped at random.

  Attributes:
    apply: (params, x, t, y, key) -> the network's raw output; the key is for
      dropout inside it. With `augment` it also takes `augment_labels`.
    process: noises the data and weighs the error.
    null: what stands for "no condition": the null class' index, or the
      embedding of the empty text; needed with `label_dropout`.
    label_dropout: probability that a label is replaced by `null`.
    augment: (key, images) -> images and the labels (B, L) that tell the
      network what was done to them; None leaves the images alone.
  """

  apply: Callable
  process: Process
  null: int | jax.Array | None = None
  label_dropout: float = 0.0
  augment: Callable | None = None

  def __call__(self, params, batch, key):
    """The loss of a batch; see `get_jax.training.step.make_train_step`.

    Args:
      params: parameters of the network.
      batch: "image" (B, H, W, C) in [-1, 1], and "label", (B,) classes or
        (B, L, D) text, or none.
      key: PRNG key of the step.

    Returns:
      The scalar loss and further metrics, float32.
    """
    return self.loss(params, self.prepare(batch, key), key)

  def prepare(self, batch, key):
    """The samples of a batch with all that is random about each of them.

    Returns:
      Arrays by name, each with the samples along its first axis: "x0", "y"
      or none, "levels", "noise", "augment_labels" or none.
    """
    label_key, process_key, _, augment_key = jax.random.split(key, 4)
    x0, y = batch["image"], batch.get("label")
    if y is not None and self.label_dropout:
      share = self.label_dropout
      dropped = jax.random.bernoulli(label_key, share, y.shape[:1])
      y = jnp.where(expand(dropped, y), self.null, y)
    told = {}
    if self.augment is not None:
      x0, told["augment_labels"] = self.augment(augment_key, x0)
    levels, noise = self.process.draw(process_key, x0.shape)
    return {"x0": x0, "y": y, "levels": levels, "noise": noise, **told}

  def loss(self, params, samples, key):
    """The mean over samples of `prepare`; the key is for dropout alone."""
    dropout_key = jax.random.split(key, 4)[2]
    told = {k: v for k, v in samples.items() if k == "augment_labels"}

    def net(x, t):
      return self.apply(params, x, t, samples["y"], dropout_key, **told)

    given = samples["x0"], samples["levels"], samples["noise"]
    losses, metrics = self.process.loss_at(net, *given)
    return losses.mean(), {k: v.mean() for k, v in metrics.items()}
