"""Classifier-free guidance (Ho and Salimans) as in the published runs."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from get_jax.diffusion.process import as_float32, expand
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.typing import Array, Network
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Guidance:
  """Settings of classifier-free guidance.

  A guided channel is u + w (c - u), with the unconditional output u and the
  conditional output c. The other channels are those of c. w = 1 is the
  conditional model.

  Attributes:
    scale: the guidance scale w, in the units of `convention`.
    channels: number of leading channels that are guided; None guides all
      channels of the state. The published results of DiT and DiffiT use 3 of
      4. A learned variance is never guided.
    schedule: "constant", or DiffiT's "power_cosine", whose scale increases
      from 1 at t = period to the full scale at t = 0.
    power: exponent of "power_cosine".
    period: T of "power_cosine", in units of the network's time.
    interval: noise-to-signal ratios (low, high) between which guidance is
      applied (Kynkaanniemi et al.); elsewhere w = 1. None applies guidance
      everywhere.
    convention: "w", where a scale of 1 means no guidance, or "u-vit", where 0
      means no guidance: its c + s (c - u) equals w = 1 + s.
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
    """Returns a description for protocols: "1.5 on 3 channels", "none"."""
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
    """Checks that a network supports these settings.

    Args:
      conditional: whether the network takes labels or text.
      has_null: whether the network has a null class or an empty text.

    Raises:
      UsageError: guidance is enabled and the network does not support it.
    """
    if self.full_scale == 1 or (conditional and has_null):
      return
    missing = "a null class" if conditional else "labels or text"
    raise UsageError(
      f"guidance with scale {self.scale} needs {missing}, which this model "
      "does not have"
    )

  def weight(
    self, t: Real[Array, "..."], sigma_of: Callable | None = None
  ) -> Float[Array, "..."]:
    """Returns the guidance weight w at the network's time t, in float32.

    Args:
      t: time input of the network, any shape and dtype.
      sigma_of: `process.sigma_of`; required with an `interval`.

    Raises:
      UsageError: an `interval` is set and `sigma_of` is None.
    """
    t = as_float32(t)
    w = jnp.full(t.shape, self.full_scale, jnp.float32)
    if self.schedule == "power_cosine":
      past = 1 - t / self.period
      rise = (1 - jnp.cos(math.pi * past**self.power)) / 2
      w = 1 + (self.full_scale - 1) * rise
    if self.interval is not None:
      if sigma_of is None:
        raise UsageError("a guidance interval needs the process' sigma_of")
      low, high = self.interval
      sigma = sigma_of(t)
      w = jnp.where((low <= sigma) & (sigma <= high), w, 1.0)
    return w

  def __call__(
    self,
    net: Callable,
    y: Array | None,
    null: Array | int | None,
    sigma_of: Callable | None = None,
  ) -> Network:
    """Returns the guided network with bound conditioning.

    Args:
      net: conditional network (x, t, y, **scalars) -> output.
      y: labels (B,) or text (B, L, D); None for an unconditional network.
      null: null conditioning, broadcastable to y: the index of the null class,
        or the embedding of the empty text.
      sigma_of: `process.sigma_of`; required with an `interval`.

    Returns:
      (x, t, **scalars) -> output, in float32. It evaluates the network once on
      2B samples, with the two inputs of a sample adjacent, so that a sharded
      batch needs no communication. If the scale is 1, it evaluates the network
      on B samples and returns its output unchanged; so it does at times at
      which the interval or the schedule makes w = 1 for the whole batch.

    Raises:
      UsageError: guidance is enabled and the network has no conditioning or no
        null conditioning, or an `interval` is set and `sigma_of` is None.
    """
    self.check(y is not None, null is not None)
    if self.full_scale == 1 or y is None:
      return lambda x, t, **scalars: net(x, t, y, **scalars)
    if self.interval is not None and sigma_of is None:
      raise UsageError("a guidance interval needs the process' sigma_of")
    y = jnp.asarray(y)
    both = _interleave(y, jnp.broadcast_to(jnp.asarray(null, y.dtype), y.shape))

    def pushed(x, t, scalars):
      scalars = {name: _interleave(s, s) for name, s in scalars.items()}
      out = net(_interleave(x, x), _interleave(t, t), both, **scalars)
      pairs = as_float32(out).reshape(-1, 2, *out.shape[1:])
      cond, uncond = pairs[:, 0], pairs[:, 1]
      w = expand(self.weight(t, sigma_of), cond)
      count = x.shape[-1] if self.channels is None else self.channels
      guided = uncond + w * (cond - uncond)
      return jnp.concatenate([guided[..., :count], cond[..., count:]], axis=-1)

    def conditional(x, t, scalars):
      return as_float32(net(x, t, y, **scalars))

    def guided(x, t, **scalars):
      if self.schedule == "constant" and self.interval is None:
        return pushed(x, t, scalars)
      nowhere = jnp.all(self.weight(t, sigma_of) == 1)
      return jax.lax.cond(nowhere, conditional, pushed, x, t, scalars)

    return guided


def check_labels(labels, num_classes: int, null_class: bool = True) -> None:
  """Checks that labels are valid class indices.

  Args:
    labels: integers on the host, any shape.
    num_classes: number of classes, without the null class.
    null_class: whether the index num_classes, the null class, is valid too.

  Raises:
    UsageError: a label is out of range.
  """
  labels = np.asarray(labels)
  wrong = labels[(labels < 0) | (labels >= num_classes + null_class)]
  if wrong.size:
    raise UsageError(
      f"label {wrong[0]} is out of range: the model has classes 0 to "
      f"{num_classes - 1}"
    )


def _interleave(first: Array, second: Array) -> jax.Array:
  """Interleaves two arrays (B, ...) to (2B, ...)."""
  pairs = jnp.stack([first, second], axis=1)
  return pairs.reshape(-1, *first.shape[1:])
