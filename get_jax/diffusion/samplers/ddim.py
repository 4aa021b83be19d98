"""Implicit sampling (Song et al., "Denoising Diffusion Implicit Models")."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.discrete import DiscreteProcess
from get_jax.diffusion.process import Network
from get_jax.diffusion.respacing import space_timesteps
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.scheme import Scheme


@dataclasses.dataclass(frozen=True)
class DDIM(SchemeSampler):
  """Deterministic steps, or with eta > 0 a share of DDPM's noise.

  A learned variance is not used.

  Attributes:
    process: a discrete process.
    num_steps: how many timesteps to keep and which, see `space_timesteps`;
      "ddimN" are the ones of the paper's experiments.
    eta: 0 for the ODE, 1 for DDPM's noise.
    clip: whether to clip x_0's estimates to [-1, 1]: for pixels, not latents.
  """

  needs = DiscreteProcess

  process: DiscreteProcess
  num_steps: int | str | tuple[int, ...] = "ddim50"
  eta: float = 0.0
  clip: bool = False

  def __post_init__(self):
    super().__post_init__()
    space_timesteps(self.process.num_timesteps, self.num_steps)

  @functools.cached_property
  def respaced(self) -> DiscreteProcess:
    """The process of the kept timesteps."""
    return self.process.respaced(self.num_steps)

  @functools.cached_property
  def scheme(self) -> Scheme:
    """The sampler as a table."""
    tables = self.respaced.tables
    here, to = tables.alpha_bar[::-1], tables.alpha_bar_prev[::-1]
    std = self.eta * np.sqrt((1 - to) / (1 - here) * (1 - here / to))
    base, weight = _move(here, to, std)
    kick = {}
    if self.eta:
      # A step's noise is added as the next one begins.
      kick["kick"] = np.append(0.0, std[:-1])
      kick["stream"] = np.maximum(np.arange(len(std)) - 1, 0)
    return Scheme(
      start=1.0,
      time=np.arange(len(here))[::-1],
      begins=np.ones(len(here), bool),
      base_weight=base,
      weights=weight[:, None],
      **kick,
    )

  def predict(self, net):
    """The data, of the state and the index of a step."""
    return functools.partial(self._data, net)

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    return prediction

  def encode(self, net: Network, x0: jax.Array) -> jax.Array:
    """Runs the ODE from data (B, H, W, C) to the noise that samples it."""

    def step(x, index):
      return self.encoding_step(net, x, index), None

    return jax.lax.scan(step, x0, jnp.arange(self.evaluations))[0]

  def encoding_step(self, net: Network, x: jax.Array, index) -> jax.Array:
    """One step of `encode`, from step `index` of the process to the next."""
    tables = self.respaced.tables
    weights = _move(tables.alpha_bar, tables.alpha_bar_next, 0.0)
    base, weight = (jnp.asarray(w, jnp.float32)[index] for w in weights)
    return base * x + weight * self._data(net, x, jnp.asarray(index))

  def _data(self, net, x, time):
    index = time.astype(jnp.int32)
    t = jnp.broadcast_to(self.respaced.network_time(index), x.shape[:1])
    return self.respaced.data(net(x, t), x, index, clip=self.clip)


def _move(here, to, std):
  """Weights of x and of x_0 when alpha_bar goes from `here` to `to`."""
  base = np.sqrt((1 - to - std**2) / (1 - here))
  return base, np.sqrt(to) - np.sqrt(here) * base
