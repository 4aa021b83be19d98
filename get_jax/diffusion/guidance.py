"""Classifier-free guidance (Ho and Salimans) as the papers really ran it."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.process import Network, expand
from get_jax.diffusion.registry import check_choice
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Guidance:
  """How far predictions are pushed from unconditional to conditional.

  A guided channel is  u + w (c - u)  of the unconditional output u and the
  conditional c; every other channel is c's. w = 1 is the conditional model.

  Attributes:
    scale: w, in the terms of `convention`.
    channels: how many of the leading channels are guided; None for all of a
      state's. DiT and DiffiT published their numbers with 3 of 4; a learned
      variance is never guided.
    schedule: "constant", or DiffiT's "power_cosine", whose scale rises from
      1 at t = period to the full one at t = 0.
    power: exponent of "power_cosine".
    period: T of "power_cosine", in the network's time.
    interval: the noise-to-signal ratios (low, high) between which to guide
      (Kynkaanniemi et al.); outside w = 1. None guides everywhere.
    convention: "w" where a scale of 1 means no guidance, or "u-vit" where 0
      means none: its c + s (c - u) is w = 1 + s.
  """

  scale: float = 1.0
  channels: int | None = None
  schedule: str = "constant"
  power: float = 4.0
  period: float = 1000.0
  interval: tuple[float, float] | None = None
  convention: str = "w"

  def __post_init__(self):
    check_choice(
      "guidance", "schedule", self.schedule, ("constant", "power_cosine")
    )
    check_choice("guidance", "convention", self.convention, ("w", "u-vit"))

  @property
  def full_scale(self) -> float:
    """The largest w."""
    return self.scale + (self.convention == "u-vit")

  def describe(self) -> str:
    """In words, for protocols: "1.5 on 3 channels", "none"."""
    if self.full_scale == 1:
      return "none"
    words = f"{self.full_scale:g}"
    if self.channels is not None:
      words += f" on {self.channels} channels"
    if self.schedule != "constant":
      words += f", {self.schedule} of power {self.power:g}"
    if self.interval is not None:
      words += f", within sigma {self.interval[0]:g} to {self.interval[1]:g}"
    return words

  def check(self, conditional: bool, has_null: bool) -> None:
    """Refuses a network that cannot be guided.

    Args:
      conditional: whether it takes labels or text.
      has_null: whether it knows "no condition".

    Raises:
      UsageError: it cannot, and is to be.
    """
    if self.full_scale == 1 or (conditional and has_null):
      return
    missing = "a null class" if conditional else "labels or text"
    raise UsageError(
      f"guidance with scale {self.scale} needs {missing}, which this model "
      "was made without"
    )

  def weight(self, t: jax.Array, sigma_of: Callable | None = None):
    """w at the network's time t (any shape)."""
    w = jnp.full_like(t, self.full_scale)
    if self.schedule == "power_cosine":
      past = 1 - t / self.period
      rise = (1 - jnp.cos(math.pi * past**self.power)) / 2
      w = 1 + (self.full_scale - 1) * rise
    if self.interval is not None:
      low, high = self.interval
      sigma = sigma_of(t)
      w = jnp.where((low <= sigma) & (sigma <= high), w, 1.0)
    return w

  def __call__(
    self,
    net: Callable,
    y: jax.Array | None,
    null: jax.Array | int | None,
    sigma_of: Callable | None = None,
  ) -> Network:
    """Closes a conditional network over its labels, guided.

    Args:
      net: (x, t, y) -> output.
      y: labels (B,) or text (B, L, D); None for an unconditional network.
      null: what the network takes for "no condition", broadcast to y: the
        null class' index, or the embedding of the empty text.
      sigma_of: `process.sigma_of`; needed with an `interval`.

    Returns:
      (x, t) -> output. It evaluates the network once on 2B samples, pairs
      side by side (so that a sharded batch stays where it is), or on B where
      the scale is 1.

    Raises:
      UsageError: where guidance is asked of a network without condition or
        without null.
    """
    self.check(y is not None, null is not None)
    if self.full_scale == 1:
      return lambda x, t: net(x, t, y)
    if self.interval is not None and sigma_of is None:
      raise UsageError("a guidance interval needs the process' sigma_of")
    both = _interleave(y, jnp.broadcast_to(jnp.asarray(null, y.dtype), y.shape))

    def guided(x, t):
      out = net(_interleave(x, x), _interleave(t, t), both)
      pairs = out.reshape(-1, 2, *out.shape[1:])
      cond, uncond = pairs[:, 0], pairs[:, 1]
      w = expand(self.weight(t, sigma_of), cond).astype(cond.dtype)
      count = x.shape[-1] if self.channels is None else self.channels
      pushed = uncond + w * (cond - uncond)
      return jnp.concatenate([pushed[..., :count], cond[..., count:]], axis=-1)

    return guided


def check_labels(labels, num_classes: int, null_class: bool = True) -> None:
  """Raises a UsageError unless the labels (host integers) are classes.

  The null class, index num_classes, is one of them where there is one.
  """
  labels = np.asarray(labels)
  wrong = labels[(labels < 0) | (labels >= num_classes + null_class)]
  if wrong.size:
    raise UsageError(
      f"label {wrong[0]} is out of range: the model has classes 0 to "
      f"{num_classes - 1}"
    )


def _interleave(first: jax.Array, second: jax.Array) -> jax.Array:
  """(B, ...) twice to (2B, ...), pairs side by side."""
  pairs = jnp.stack([first, second], axis=1)
  return pairs.reshape(-1, *first.shape[1:])
