"""Euler steps of the probability flow, in the same form for all processes.

A state alpha x0 + sigma n is divided by alpha: x0 + r n, with the
noise-to-signal ratio r = sigma / alpha. The slope dx/dr of its trajectory is
the noise n, so that a step of DDIM is an Euler step in r. A grid of N intervals
has the positions i / N, from 0, where sampling starts, to 1, where it ends.
"""

import abc
import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.continuous import VariancePreserving
from get_jax.diffusion.discrete import DiscreteProcess
from get_jax.diffusion.edm import SigmaProcess
from get_jax.diffusion.process import Process, as_float32, expand
from get_jax.diffusion.typing import Array, Network
from get_jax.errors import UsageError


class Trajectory(abc.ABC):
  """The trajectories of a process, over positions in [0, 1].

  Functions with `xp` take numpy (float64, for tables on the host) or jax.numpy
  (float32, inside jit).
  """

  @property
  @abc.abstractmethod
  def start(self) -> float:
    """Scale of the unit noise in the state where sampling starts."""

  @abc.abstractmethod
  def ratio(self, position: Array, xp=jnp):
    """Returns the noise-to-signal ratios at positions, any shape."""

  @abc.abstractmethod
  def predictor(self, net: Network) -> Callable[..., jax.Array]:
    """Returns a function that estimates the noise in x.

    Args:
      net: see `Network`.

    Returns:
      A function of the state x (B, H, W, C) and its position, scalar or (B,).
    """

  @property
  def max_steps(self) -> int | None:
    """The largest number of steps of a grid; None sets no limit."""
    return None

  def check_steps(self, steps: int, owner: str) -> None:
    """Checks the number of steps of a grid.

    Args:
      steps: number of steps.
      owner: the setting, for the message.

    Raises:
      UsageError: the process has fewer noise levels.
    """
    if self.max_steps is not None and steps > self.max_steps:
      raise UsageError(
        f"{owner} takes {steps} steps; expected {self.max_steps} or fewer, the "
        "number of noise levels of the process"
      )


@dataclasses.dataclass(frozen=True)
class SigmaTrajectory(Trajectory):
  """The trajectories of an EDM process, on EDM's grid.

  Attributes:
    process: an EDM process.
    sigma_min: noise level where sampling ends.
    sigma_max: noise level where it starts.
    rho: sigma^(1/rho) is linear in the position.
  """

  process: SigmaProcess
  sigma_min: float
  sigma_max: float
  rho: float

  def __post_init__(self):
    lowest, highest = self.process.sigma_range
    if not lowest <= self.sigma_min < self.sigma_max <= highest:
      raise UsageError(
        f"sigma_min is {self.sigma_min:g} and sigma_max is {self.sigma_max:g}; "
        f"expected an interval between {lowest:g} and {highest:g}, the noise "
        "levels of the process"
      )

  @property
  def start(self):
    """See `Trajectory.start`."""
    return self.sigma_max

  def ratio(self, position, xp=jnp):
    """See `Trajectory.ratio`."""
    low, high = (
      self.sigma_min ** (1 / self.rho),
      self.sigma_max ** (1 / self.rho),
    )
    return (high + _convert(position, xp) * (low - high)) ** self.rho

  def predictor(self, net):
    """See `Trajectory.predictor`."""
    predict = self.process.predictor(net)
    return lambda x, position: predict(x, self.ratio(position))


@dataclasses.dataclass(frozen=True)
class VPTrajectory(Trajectory):
  """The trajectories of a VP process, on a grid of equal time steps to t = 0.

  Attributes:
    process: a process with a noise schedule.
  """

  process: VariancePreserving

  def time(self, position, xp=jnp):
    """Returns the continuous times at positions."""
    return self.process.schedule.t_first * (1 - _convert(position, xp))

  @property
  def start(self):
    """See `Trajectory.start`; the state times alpha is unit noise."""
    time = self.time(np.zeros(()), np)
    return float(1 / self.process.schedule.alpha(time))

  def ratio(self, position, xp=jnp):
    """See `Trajectory.ratio`."""
    time = self.time(position, xp)
    at_data = time <= 0
    defined = xp.where(at_data, self.process.schedule.t_first, time)
    lam = self.process.schedule.lam(defined, xp)
    return xp.where(at_data, 0.0, xp.exp(-lam))

  def predictor(self, net):
    """See `Trajectory.predictor`."""
    predict = self.process.predictor(net)

    def scaled(x, position):
      x, time = as_float32(x), self.time(position)
      alpha = self.process.schedule.alpha(time, jnp)
      return predict(x * (expand(alpha, x) if alpha.ndim else alpha), time)

    return scaled

  @property
  def max_steps(self):
    """See `Trajectory.max_steps`."""
    if isinstance(self.process, DiscreteProcess):
      return self.process.num_timesteps
    return None


def trajectory_of(
  process: Process,
  owner: str,
  sigma_min: float = 0.002,
  sigma_max: float = 80.0,
  rho: float = 7.0,
) -> Trajectory:
  """Returns the trajectories of a process.

  Args:
    process: the process.
    owner: what needs them, for the message.
    sigma_min: see `SigmaTrajectory`; not used for a VP process.
    sigma_max: likewise.
    rho: likewise.

  Raises:
    UsageError: the process has no noise-to-signal ratio, or does not have these
      noise levels.
  """
  if isinstance(process, SigmaProcess):
    return SigmaTrajectory(process, sigma_min, sigma_max, rho)
  if isinstance(process, VariancePreserving):
    return VPTrajectory(process)
  raise UsageError(
    f"{owner} needs {SigmaProcess.description} or "
    f"{VariancePreserving.description}, and not {process.description}"
  )


def _convert(x, xp):
  return np.asarray(x, np.float64) if xp is np else as_float32(x)
