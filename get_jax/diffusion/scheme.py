"""One loop for every sampler whose steps are known beforehand.

Euler, Heun, DDIM, DPM-Solver and Euler-Maruyama differ in the numbers by which
they combine states, predictions and noise, and in nothing else. The numbers
are made on the host in float64, one row per evaluation of the network; the
loop is one `lax.scan` that holds the network once.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.noise import INITIAL, STEPS, SampleNoise

# Called on the host with the number of the step and the samples' estimate.
Show = Callable[[np.ndarray, np.ndarray], None]


class Preview(NamedTuple):
  """A wish to watch sampling.

  Attributes:
    show: called with the step (int32) and the estimates of the clean data
      (B, *shape); calls may come late and out of order.
    every: steps between calls.
  """

  show: Show
  every: int = 1

  def __call__(self, step, begins, denoised: jax.Array) -> None:
    """Calls `show` from inside jit where `step` begins and is due."""

    def call():
      jax.debug.callback(self.show, step, denoised)

    jax.lax.cond(begins & (step % self.every == 0), call, lambda: None)


@dataclasses.dataclass(frozen=True)
class Scheme:
  """A sampler as a table; E rows, one per evaluation of the network.

  Row e noises the state it was handed, x + kick z (and holds the result as
  the base of a new step where the row `begins` one), asks for the prediction
  m there, and hands on  base_weight * base + sum_j weights[j] m_(e-j).

  Attributes:
    start: scale of the initial unit noise.
    time: (E,) what the predictor is told: t or sigma.
    begins: (E,) bool, the row is the first of a step.
    base_weight: (E,) weight of the state at the step's begin.
    weights: (E, H) weights of the last H predictions, the newest first.
    kick: (E,) scale of the noise added before the prediction.
    stream: (E,) index k of that noise (stream STEPS + k).
  """

  start: float
  time: np.ndarray
  begins: np.ndarray
  base_weight: np.ndarray
  weights: np.ndarray
  kick: np.ndarray | None = None
  stream: np.ndarray | None = None

  @property
  def evaluations(self) -> int:
    """How often the network is evaluated."""
    return len(self.time)


def integrate(
  scheme: Scheme,
  predict: Callable[[jax.Array, jax.Array], jax.Array],
  noise: SampleNoise,
  shape: tuple[int, ...],
  *,
  denoised: Callable[..., jax.Array],
  trajectory: bool = False,
  preview: Preview | None = None,
):
  """Runs a scheme from its prior to a sample.

  Args:
    scheme: the table.
    predict: of the state (B, *shape) and a scalar time.
    noise: the samples' noise.
    shape: of one sample.
    denoised: from state, time and prediction to the estimate of the clean
      data, for previews.
    trajectory: whether to return the states too.
    preview: see `Preview`.

  Returns:
    The samples, (B, *shape) float32; with `trajectory` also the states at the
    begin of every step followed by the samples, (steps + 1, B, *shape).
  """
  rows = {
    "time": jnp.asarray(scheme.time, jnp.float32),
    "begins": jnp.asarray(scheme.begins),
    "base_weight": jnp.asarray(scheme.base_weight, jnp.float32),
    "weights": jnp.asarray(scheme.weights, jnp.float32),
    "step": jnp.cumsum(jnp.asarray(scheme.begins, jnp.int32)) - 1,
  }
  if scheme.kick is not None:
    rows["kick"] = jnp.asarray(scheme.kick, jnp.float32)
    rows["stream"] = jnp.asarray(STEPS + scheme.stream, jnp.int32)

  def evaluate(carry, row):
    x, base, past = carry
    if scheme.kick is not None:
      x = x + row["kick"] * noise(row["stream"], shape)
    base = jnp.where(row["begins"], x, base)
    prediction = predict(x, row["time"])
    past = (prediction, *past[:-1])
    if preview is not None:
      estimate = denoised(x, row["time"], prediction)
      preview(row["step"], row["begins"], estimate)
    following = row["base_weight"] * base
    for weight, value in zip(row["weights"], past, strict=True):
      following = following + weight * value
    return (following, base, past), x if trajectory else None

  x = scheme.start * noise(INITIAL, shape)
  past = (jnp.zeros_like(x),) * scheme.weights.shape[1]
  (x, _, _), states = jax.lax.scan(evaluate, (x, x, past), rows)
  if not trajectory:
    return x
  begun = states[np.flatnonzero(scheme.begins)]
  return x, jnp.concatenate([begun, x[None]])
