"""Variance-preserving noise schedules in continuous time.

x_t = alpha(t) x_0 + sigma(t) n with alpha^2 + sigma^2 = 1. The samplers of the
DPM-Solver family take steps in lambda = log(alpha / sigma), half the log of the
signal-to-noise ratio. Every function takes `xp`: numpy (float64, for tables on
the host) or jax.numpy (float32, inside jit). Arguments are real numbers of any
dtype; they are converted first.
"""

import abc
import dataclasses
import functools
import math

import numpy as np


class NoiseSchedule(abc.ABC):
  """A noise schedule, defined by log alpha(t).

  Attributes:
    t_first: the largest time, where sampling starts.
    t_last: the smallest time that a solver in lambda should reach.
  """

  t_first: float
  t_last: float

  @abc.abstractmethod
  def log_alpha(self, t, xp=np):
    """Returns log alpha(t), the log of the scale of the signal."""

  @abc.abstractmethod
  def time_of_log_alpha(self, log_alpha, xp=np):
    """Returns t, given log alpha(t)."""

  def alpha(self, t, xp=np):
    """Returns alpha(t), the scale of the signal."""
    return xp.exp(self.log_alpha(t, xp))

  def sigma(self, t, xp=np):
    """Returns sigma(t), the standard deviation of the noise."""
    # expm1 is precise near t = 0, where 1 - alpha^2 cancels.
    return xp.sqrt(-xp.expm1(2 * self.log_alpha(t, xp)))

  def lam(self, t, xp=np):
    """Returns lambda(t) = log(alpha / sigma), decreasing in t."""
    log_alpha = self.log_alpha(t, xp)
    return log_alpha - 0.5 * xp.log(-xp.expm1(2 * log_alpha))

  def time(self, lam, xp=np):
    """Returns t, given lambda(t)."""
    double = 2 * _convert(lam, xp)
    return self.time_of_log_alpha(-0.5 * xp.logaddexp(0.0, -double), xp)


class SDESchedule(NoiseSchedule):
  """The schedule of the SDE dx = -beta(t) x / 2 dt + sqrt(beta(t)) dw."""

  @abc.abstractmethod
  def beta(self, t, xp=np):
    """Returns the rate beta(t) = -2 d log_alpha / dt."""

  def noise_to_signal(self, t, remaining, xp=np):
    """Returns sigma(t) / alpha(t).

    Args:
      t: time in [0, 1].
      remaining: 1 - t, precise also near t = 1.
      xp: numpy or jax.numpy.
    """
    del remaining
    return xp.exp(-self.lam(t, xp))


@dataclasses.dataclass(frozen=True)
class Linear(SDESchedule):
  """beta(t) = beta_min + t (beta_max - beta_min) on [0, 1] (Song et al.)."""

  beta_min: float = 0.1
  beta_max: float = 20.0
  t_first: float = 1.0
  t_last: float = 1e-4

  def beta(self, t, xp=np):
    """See `SDESchedule.beta`."""
    return self.beta_min + _convert(t, xp) * (self.beta_max - self.beta_min)

  def log_alpha(self, t, xp=np):
    """See `NoiseSchedule.log_alpha`."""
    t, slope = _convert(t, xp), self.beta_max - self.beta_min
    return -0.5 * t * (self.beta_min + 0.5 * slope * t)

  def time_of_log_alpha(self, log_alpha, xp=np):
    """See `NoiseSchedule.time_of_log_alpha`."""
    log_alpha, slope = _convert(log_alpha, xp), self.beta_max - self.beta_min
    root = xp.sqrt(self.beta_min**2 - 4 * slope * log_alpha)
    return -4 * log_alpha / (root + self.beta_min)


@dataclasses.dataclass(frozen=True)
class Cosine(SDESchedule):
  """alpha(t) = cos((t + s) / (1 + s) pi / 2), scaled to 1 at 0.

  Nichol and Dhariwal's schedule in continuous time.

  Attributes:
    s: offset, in (0, 1).
    t_first: the time at which DPM-Solver truncates the schedule, before alpha
      vanishes.
    t_last: see `NoiseSchedule`.
  """

  s: float = 0.008
  t_first: float = 0.9946
  t_last: float = 1e-4

  @property
  def _unit(self):
    """The angle per unit of time."""
    return math.pi / 2 / (1 + self.s)

  # For precision in float32, angles are measured from the nearer end: from the
  # right angle at t = 1, or from the start at t = 0.

  def beta(self, t, xp=np):
    """See `SDESchedule.beta`."""
    return 2 * self._unit / xp.tan((1 - _convert(t, xp)) * self._unit)

  def log_alpha(self, t, xp=np):
    """See `NoiseSchedule.log_alpha`."""
    t = _convert(t, xp)
    variance = self._variance(t, xp)
    near = 0.5 * xp.log1p(-xp.minimum(variance, 0.5))
    far = xp.log(xp.sin((1 - t) * self._unit) / math.sin(self._unit))
    return xp.where(variance < 0.5, near, far)

  def sigma(self, t, xp=np):
    """See `NoiseSchedule.sigma`."""
    return xp.sqrt(self._variance(t, xp))

  def _variance(self, t, xp):
    """Returns sigma(t)^2."""
    # cos^2 a - cos^2 b = sin(b - a) sin(b + a), with the angle a at time 0 and
    # the angle b at time t.
    t = _convert(t, xp)
    product = xp.sin(t * self._unit) * xp.sin((t + 2 * self.s) * self._unit)
    return product / math.sin(self._unit) ** 2

  def noise_to_signal(self, t, remaining, xp=np):
    """See `SDESchedule.noise_to_signal`."""
    remaining = _convert(remaining, xp)
    alpha = xp.sin(remaining * self._unit) / math.sin(self._unit)
    return self.sigma(t, xp) / alpha

  def lam(self, t, xp=np):
    """See `NoiseSchedule.lam`."""
    return self.log_alpha(t, xp) - xp.log(self.sigma(t, xp))

  def time_of_log_alpha(self, log_alpha, xp=np):
    """See `NoiseSchedule.time_of_log_alpha`."""
    log_alpha, start = _convert(log_alpha, xp), self.s * self._unit
    variance = -xp.expm1(2 * log_alpha)
    # The identity of `_variance` gives the difference of the angles.
    product = math.cos(start) ** 2 * xp.minimum(variance, 0.5)
    angle = xp.arcsin(xp.sqrt(math.sin(start) ** 2 + product))
    near = xp.arcsin(product / xp.sin(angle + start)) / self._unit
    far = 1 - xp.arcsin(xp.exp(log_alpha) * math.cos(start)) / self._unit
    return xp.where(variance < 0.5, near, far)


@dataclasses.dataclass(frozen=True)
class Interpolated(NoiseSchedule):
  """The schedule of a discrete process, interpolated in continuous time.

  log alpha is linear between the knots t = n / N, n = 1..N, and extrapolated
  linearly beyond them.

  Attributes:
    alpha_bar: alpha(n / N)^2 of the N levels, decreasing.
    t_first: see `NoiseSchedule`.
  """

  alpha_bar: tuple[float, ...]
  t_first: float = 1.0

  # A read-only attribute suffices: the dataclass is frozen.
  @property
  def t_last(self) -> float:  # type: ignore[override]
    """The first knot, 1 / N."""
    return 1 / len(self.alpha_bar)

  @functools.cached_property
  def _knots(self):
    count = len(self.alpha_bar)
    return np.arange(1, count + 1) / count, 0.5 * np.log(self.alpha_bar)

  def log_alpha(self, t, xp=np):
    """See `NoiseSchedule.log_alpha`."""
    times, values = self._knots
    return _interpolate(t, times, values, xp)

  def time_of_log_alpha(self, log_alpha, xp=np):
    """See `NoiseSchedule.time_of_log_alpha`."""
    times, values = self._knots
    return _interpolate(log_alpha, values[::-1], times[::-1], xp)


def _interpolate(x, xs, ys, xp):
  """Interpolates (xs, ys) linearly, xs ascending; extrapolates at both ends."""
  x = _convert(x, xp)
  slopes = np.diff(ys) / np.diff(xs)
  # A knot is the sum of two numbers of the dtype of x: where ys is steep, the
  # rounding of the knots would dominate the error in float32. The first is
  # rounded down, so that comparing x with it is comparing x with the knot.
  high = xs.astype(x.dtype)
  high = np.where(high > xs, np.nextafter(high, -np.inf, dtype=x.dtype), high)
  low = xp.asarray(xs - high.astype(np.float64), x.dtype)
  high, ys, slopes = (xp.asarray(a, x.dtype) for a in (high, ys, slopes))
  i = xp.clip(xp.searchsorted(high, x), 1, len(xs) - 1) - 1
  return ys[i] + slopes[i] * ((x - high[i]) - low[i])


def _convert(x, xp):
  """Returns a float64 array of numpy, or a float32 array of jax.numpy."""
  return xp.asarray(x, np.float64 if xp is np else np.float32)
