"""Ancestral sampling (Ho et al., Algorithm 2) with ADM's variances."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from get_jax.diffusion.discrete import DiscreteProcess
from get_jax.diffusion.noise import INITIAL, STEPS
from get_jax.diffusion.samplers.base import Sampler
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class DDPM(Sampler):
  """Samples x_{t-1} from the predicted Gaussian, one evaluation per step.

  Attributes:
    process: a discrete process.
    num_steps: number or spacing of the timesteps, see `space_timesteps`.
    clip: whether to clip estimates of x_0 to [-1, 1], for pixels; not for
      latents.
  """

  process_class = DiscreteProcess

  process: DiscreteProcess
  num_steps: int | str | tuple[int, ...] = 250
  clip: bool = False

  def __post_init__(self):
    super().__post_init__()
    if self.evaluations < 2:
      raise UsageError(
        "ancestral sampling needs at least 2 steps: one has no variance"
      )

  @functools.cached_property
  def respaced(self) -> DiscreteProcess:
    """The process with the selected timesteps."""
    return self.process.respaced(self.num_steps)

  @property
  def evaluations(self) -> int:
    """See `Sampler.evaluations`."""
    return len(self.respaced.tables.timesteps)

  def __call__(self, net, noise, shape, *, trajectory=False, preview=None):
    """See `Sampler.__call__`."""
    process = self.respaced

    def step(x, k):
      index = self.evaluations - 1 - k
      t = jnp.broadcast_to(process.network_timestep(index), x.shape[:1])
      mean, log_variance, x0 = process.p_mean_variance(
        net(x, t), x, index, clip=self.clip
      )
      if preview is not None:
        preview(k, True, x0)
      std = jnp.where(index > 0, jnp.exp(0.5 * log_variance), 0.0)
      following = mean + std * noise(STEPS + k, shape)
      return following, x if trajectory else None

    start = noise(INITIAL, shape)
    steps = jnp.arange(self.evaluations, dtype=jnp.int32)
    x, states = jax.lax.scan(step, start, steps)
    return (x, jnp.concatenate([states, x[None]])) if trajectory else x
