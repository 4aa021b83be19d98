"""Runs every sampler whose steps are known in advance in one loop.

Euler, Heun, DDIM, DPM-Solver and Euler-Maruyama differ only in the
coefficients with which they combine states, predictions and noise. The
coefficients are computed on the host in float64, one row per evaluation of the
network. The loop is one `lax.scan`, so the compiled program contains the
network once.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Real

from get_jax.diffusion.noise import INITIAL, STEPS
from get_jax.diffusion.typing import Array

# Called on the host with the step and the estimates of the clean data.
PreviewCallback = Callable[[np.ndarray, np.ndarray], None]


class Preview(NamedTuple):
  """Reports intermediate estimates during sampling.

  Attributes:
    callback: called with the step (int32) and the estimates of the clean data
      (B, *shape); calls may be late and out of order.
    every: number of steps between calls.
  """

  callback: PreviewCallback
  every: int = 1

  def __call__(self, step, starts_step, denoised: jax.Array) -> None:
    """Calls `callback` from inside jit at the first evaluation of due steps.

    Args:
      step: number of the step, () int32.
      starts_step: bool, whether this is the first evaluation of the step.
      denoised: estimates of the clean data, (B, *shape).
    """

    def call():
      jax.debug.callback(self.callback, step, denoised)

    jax.lax.cond(starts_step & (step % self.every == 0), call, lambda: None)


@dataclasses.dataclass(frozen=True)
class Scheme:
  """A sampler as a table of coefficients, one row per network evaluation.

  Row e adds noise to the current state: x + noise_scale z. If the row starts
  a step, the result becomes the base state of the step. Then it evaluates the
  prediction m_e. The next state is
  base_weight * base + sum_j weights[j] m_(e-j).

  Attributes:
    start: scale of the initial unit noise.
    time: (E,) time argument of the predictor: t, sigma or a step index.
    starts_step: (E,) bool, whether the row is the first of a step.
    base_weight: (E,) weight of the base state of the step.
    weights: (E, H) weights of the last H predictions, the newest first.
    noise_scale: (E,) scale of the noise added before the prediction; None
      for deterministic samplers.
    noise_index: (E,) index k of that noise (stream STEPS + k).
    end_noise_scale: scale of the noise that is added to the samples, that of
      the last step.
  """

  start: float | Float[Array, ""]
  time: Real[Array, " E"]
  starts_step: Bool[Array, " E"]
  base_weight: Float[Array, " E"]
  weights: Float[Array, "E H"]
  noise_scale: Float[Array, " E"] | None = None
  noise_index: Real[Array, " E"] | None = None
  end_noise_scale: float | Float[Array, ""] = 0.0

  @property
  def evaluations(self) -> int:
    """The number of network evaluations, E."""
    return len(self.time)


def integrate(
  scheme: Scheme,
  predict: Callable[[jax.Array, jax.Array], jax.Array],
  noise: Callable[..., Array],
  shape: tuple[int, ...],
  *,
  denoised: Callable[..., jax.Array] | None,
  trajectory: bool = False,
  preview: Preview | None = None,
):
  """Runs a scheme from the prior to samples.

  Args:
    scheme: the table of coefficients.
    predict: (x, time) -> prediction, with the state x (B, *shape) and a scalar
      time.
    noise: `SampleNoise` of the batch.
    shape: shape of one sample.
    denoised: (x, time, prediction) -> estimate of the clean data; required
      with `preview`.
    trajectory: whether to return the states as well.
    preview: see `Preview`.

  Returns:
    The samples, (B, *shape) float32. With `trajectory`, a pair of the samples
    and the states at the start of every step followed by the samples,
    (steps + 1, B, *shape).
  """
  rows = {
    "time": jnp.asarray(scheme.time, jnp.float32),
    "starts_step": jnp.asarray(scheme.starts_step),
    "base_weight": jnp.asarray(scheme.base_weight, jnp.float32),
    "weights": jnp.asarray(scheme.weights, jnp.float32),
    "step": jnp.cumsum(scheme.starts_step, dtype=jnp.int32) - 1,
  }
  if scheme.noise_scale is not None and scheme.noise_index is not None:
    rows["noise_scale"] = jnp.asarray(scheme.noise_scale, jnp.float32)
    rows["noise_index"] = jnp.asarray(STEPS + scheme.noise_index, jnp.int32)

  def evaluate(carry, row):
    x, base, past = carry
    if "noise_scale" in row:
      x = x + row["noise_scale"] * noise(row["noise_index"], shape)
    base = jnp.where(row["starts_step"], x, base)
    prediction = predict(x, row["time"])
    past = (prediction, *past[:-1])
    if preview is not None and denoised is not None:
      estimate = denoised(x, row["time"], prediction)
      preview(row["step"], row["starts_step"], estimate)
    following = row["base_weight"] * base
    for weight, value in zip(row["weights"], past, strict=True):
      following = following + weight * value
    return (following, base, past), x if trajectory else None

  x = jnp.asarray(scheme.start, jnp.float32) * noise(INITIAL, shape)
  past = (jnp.zeros_like(x),) * scheme.weights.shape[1]
  (x, _, _), states = jax.lax.scan(evaluate, (x, x, past), rows)
  if scheme.end_noise_scale:
    last = STEPS + int(scheme.starts_step.sum()) - 1
    x = x + jnp.float32(scheme.end_noise_scale) * noise(last, shape)
  if not trajectory:
    return x
  starts = states[np.flatnonzero(scheme.starts_step)]
  return x, jnp.concatenate([starts, x[None]])
