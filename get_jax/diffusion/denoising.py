"""The denoising training objective."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from get_jax.diffusion.process import Process, as_float32, expand
from get_jax.diffusion.typing import Array


@dataclasses.dataclass(frozen=True)
class Denoising:
  """Mean loss of a diffusion process over a batch, with label dropout.

  Attributes:
    apply: (params, x, t, y, key) -> output of the network; the key is for
      dropout inside the network. With `augment` it also takes
      `augment_labels`.
    process: the process; it noises the data and weights the error.
    null: null conditioning: the index of the null class, or the embedding of
      the empty text; required with `label_dropout`.
    label_dropout: probability with which a label is replaced by `null`.
    augment: (key, images) -> (images, labels). The labels (B, L) describe the
      augmentation to the network. None applies no augmentation.
  """

  apply: Callable
  process: Process
  null: int | Array | None = None
  label_dropout: float = 0.0
  augment: Callable | None = None

  def __call__(
    self, params: Any, batch: Mapping[str, Any], key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the loss of a batch.

    The signature is that of the objectives of
    `get_jax.training.step.make_train_step`.

    Args:
      params: parameters of the network.
      batch: "image" (B, H, W, C) in [-1, 1]; for a conditional network also
        "label", (B,) class labels or (B, L, D) text.
      key: PRNG key of the step.

    Returns:
      The scalar loss and further metrics, float32.
    """
    return self.loss(params, self.prepare(batch, key), key)

  def prepare(
    self, batch: Mapping[str, Any], key: jax.Array
  ) -> dict[str, Array | None]:
    """Samples all random inputs of the loss, except dropout.

    Args:
      batch: see `__call__`.
      key: PRNG key of the step.

    Returns:
      Arrays by name, each with the samples along its first axis: "x0",
      "levels", "noise", "y" (None without labels) and, with `augment`,
      "augment_labels".
    """
    label_key, process_key, _, augment_key = jax.random.split(key, 4)
    x0, y = as_float32(batch["image"]), batch.get("label")
    if y is not None and self.label_dropout:
      assert self.null is not None, "label_dropout needs null"
      rate = as_float32(self.label_dropout)
      dropped = jax.random.bernoulli(label_key, rate, y.shape[:1])
      y = jnp.asarray(y)
      null = jnp.broadcast_to(jnp.asarray(self.null, y.dtype), y.shape)
      y = jnp.where(expand(dropped, y), null, y)
    extra = {}
    if self.augment is not None:
      x0, extra["augment_labels"] = self.augment(augment_key, x0)
    levels, noise = self.process.sample_levels_and_noise(process_key, x0.shape)
    return {"x0": x0, "y": y, "levels": levels, "noise": noise, **extra}

  def loss(
    self, params: Any, samples: Mapping[str, Any], key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the mean loss of prepared samples, and metrics.

    Args:
      params: parameters of the network.
      samples: arrays by name, as returned by `prepare`.
      key: PRNG key of the step, used for dropout only.
    """
    dropout_key = jax.random.split(key, 4)[2]
    extra = {k: v for k, v in samples.items() if k == "augment_labels"}

    def net(x, t):
      return self.apply(params, x, t, samples["y"], dropout_key, **extra)

    given = samples["x0"], samples["levels"], samples["noise"]
    losses, metrics = self.process.loss_at(net, *given)
    return losses.mean(), {k: v.mean() for k, v in metrics.items()}
