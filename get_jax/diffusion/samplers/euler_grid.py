"""Euler steps over a grid, the sampler of progressively distilled networks."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.process import Process
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.scheme import Scheme
from get_jax.diffusion.trajectory import Trajectory, trajectory_of


@dataclasses.dataclass(frozen=True)
class EulerGrid(SchemeSampler):
  """Deterministic steps of DDIM over the grid of progressive distillation.

  A network that was distilled to N steps is trained at the starts of the N
  intervals alone. With an EDM process sampling ends at `sigma_min`, as in the
  official code, and with a VP process at the data.

  Attributes:
    process: an EDM process, or one with a noise schedule.
    num_steps: N, the number of steps and of network evaluations.
    sigma_min: noise level where sampling ends, for an EDM process.
    sigma_max: noise level where it starts, for an EDM process.
    rho: exponent of EDM's grid.
    w: guidance scale, for a network with it as an input; None: it has none.
  """

  process_class = Process

  process: Process
  num_steps: int = 1
  sigma_min: float = 0.002
  sigma_max: float = 80.0
  rho: float = 7.0
  w: float | None = None

  def __post_init__(self):
    super().__post_init__()
    self.trajectory.check_steps(self.num_steps, "sampler.num_steps")

  @property
  def network_fields(self) -> Mapping[str, Any]:  # type: ignore[override]
    """See `Sampler.network_fields`."""
    return {"scalars": () if self.w is None else ("w",)}

  @functools.cached_property
  def trajectory(self) -> Trajectory:
    """The trajectories of the process."""
    grid = self.sigma_min, self.sigma_max, self.rho
    return trajectory_of(self.process, "the sampler euler_grid", *grid)

  @functools.cached_property
  def scheme(self) -> Scheme:
    """See `SchemeSampler.scheme`; the time of a row is its position."""
    positions = np.linspace(0.0, 1.0, self.num_steps + 1)
    return Scheme(
      start=self.trajectory.start,
      time=positions[:-1],
      starts_step=np.ones(self.num_steps, bool),
      base_weight=np.ones(self.num_steps),
      weights=np.diff(self.trajectory.ratio(positions, np))[:, None],
    )

  def predictor(self, net):
    """See `SchemeSampler.predictor`; predicts the noise."""

    def conditioned(x, t):
      if self.w is None:
        return net(x, t)
      return net(x, t, w=jnp.full(x.shape[:1], self.w, jnp.float32))

    return self.trajectory.predictor(conditioned)

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    return x - self.trajectory.ratio(time) * prediction
