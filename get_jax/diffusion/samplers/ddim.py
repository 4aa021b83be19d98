"""DDIM (Song et al., "Denoising Diffusion Implicit Models")."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from get_jax.diffusion.discrete import DiscreteProcess
from get_jax.diffusion.process import as_float32
from get_jax.diffusion.respacing import space_timesteps
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.scheme import Scheme
from get_jax.diffusion.typing import Array, Network


@dataclasses.dataclass(frozen=True)
class DDIM(SchemeSampler):
  """DDIM: deterministic steps, or with eta > 0 a fraction of DDPM's noise.

  A learned variance is not used.

  Attributes:
    process: a discrete process.
    num_steps: number or spacing of the timesteps, see `space_timesteps`;
      "ddimN" is the spacing of the paper's experiments.
    eta: 0 for the ODE, 1 for DDPM's noise.
    clip: whether to clip estimates of x_0 to [-1, 1], for pixels; not for
      latents.
  """

  process_class = DiscreteProcess

  process: DiscreteProcess
  num_steps: int | str | tuple[int, ...] = "ddim50"
  eta: float = 0.0
  clip: bool = False

  def __post_init__(self):
    super().__post_init__()
    space_timesteps(self.process.num_timesteps, self.num_steps)

  @functools.cached_property
  def respaced(self) -> DiscreteProcess:
    """The process with the selected timesteps."""
    return self.process.respaced(self.num_steps)

  @functools.cached_property
  def scheme(self) -> Scheme:
    """See `SchemeSampler.scheme`."""
    tables = self.respaced.tables
    start, end = tables.alpha_bar[::-1], tables.alpha_bar_prev[::-1]
    std = self.eta * np.sqrt((1 - end) / (1 - start) * (1 - start / end))
    base, weight = _step_weights(start, end, std)
    noise = {}
    if self.eta:
      # The noise of a step is added at the start of the next step.
      noise["noise_scale"] = np.append(0.0, std[:-1])
      noise["noise_index"] = np.maximum(np.arange(len(std)) - 1, 0)
    return Scheme(
      start=1.0,
      time=np.arange(len(start))[::-1],
      starts_step=np.ones(len(start), bool),
      base_weight=base,
      weights=weight[:, None],
      **noise,
    )

  def predictor(self, net):
    """See `SchemeSampler.predictor`; predicts the data at the step `time`."""
    return functools.partial(self._data, net)

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    return prediction

  def encode(
    self, net: Network, x0: Real[Array, "B H W C"]
  ) -> Float[Array, "B H W C"]:
    """Runs the ODE from data to the noise that generates it.

    Args:
      net: see `Sampler.__call__`.
      x0: clean data (B, H, W, C).

    Returns:
      The noise, (B, H, W, C).
    """

    def step(x, index):
      return self.encoding_step(net, x, index), None

    steps = jnp.arange(self.evaluations, dtype=jnp.int32)
    return jax.lax.scan(step, as_float32(x0), steps)[0]

  def encoding_step(
    self, net: Network, x: Real[Array, "B H W C"], index
  ) -> Float[Array, "B H W C"]:
    """Runs one step of `encode`.

    Args:
      net: see `Sampler.__call__`.
      x: state at step `index` of the process, (B, H, W, C).
      index: integer scalar.

    Returns:
      The state at the next step.
    """
    tables = self.respaced.tables
    weights = _step_weights(tables.alpha_bar, tables.alpha_bar_next, 0.0)
    base, weight = (as_float32(w)[index] for w in weights)
    x = as_float32(x)
    return base * x + weight * self._data(net, x, jnp.asarray(index))

  def _data(self, net, x, time):
    index = time.astype(jnp.int32)
    t = jnp.broadcast_to(self.respaced.network_timestep(index), x.shape[:1])
    return self.respaced.predict_x0(net(x, t), x, index, clip=self.clip)


def _step_weights(start, end, std):
  """Returns the weights of x and x_0 for a step between two alpha_bar.

  Args:
    start: alpha_bar before the step.
    end: alpha_bar after the step.
    std: standard deviation of the noise that is added after the step.
  """
  base = np.sqrt((1 - end - std**2) / (1 - start))
  return base, np.sqrt(end) - np.sqrt(start) * base
