"""Closed forms for normal data N(mean, std^2 I) that is noised linearly.

x = alpha x0 + sigma n is normal with mean alpha mean and variance
alpha^2 std^2 + sigma^2. The probability flow keeps (x - alpha mean) / deviation
constant, so every method has an exact solution. All functions take NumPy and
JAX arrays, and can be differentiated in x, t and r. Scales, such as alpha, are
numbers or arrays that broadcast against x.

The linear path of MeanFlow has its data at t = 0: z = (1 - t) x0 + t n.
"""

import dataclasses

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Gaussian:
  """The data, and what follows from them.

  Attributes:
    mean: number, or array that broadcasts against x.
    std: standard deviation, a number.
  """

  mean: float | np.ndarray = 0.3
  std: float = 0.5

  def sample(self, key, shape):
    """Returns clean data."""
    return self.mean + self.std * jax.random.normal(key, shape)

  def deviation(self, alpha, sigma):
    """Returns the standard deviation of x."""
    return ((alpha * self.std) ** 2 + sigma**2) ** 0.5

  def denoised(self, x, alpha, sigma):
    """Returns the expectation of x0, given x."""
    numerator = self.std**2 * alpha * x + sigma**2 * self.mean
    return numerator / self.deviation(alpha, sigma) ** 2

  def noise(self, x, alpha, sigma):
    """Returns the expectation of n, given x."""
    return -sigma * self.score(x, alpha, sigma)

  def score(self, x, alpha, sigma):
    """Returns the gradient of the log density of x."""
    return (alpha * self.mean - x) / self.deviation(alpha, sigma) ** 2

  def velocity(self, x, alpha, sigma, d_alpha, d_sigma):
    """Returns dx/dt of the probability flow.

    Args:
      x: the state.
      alpha: scale of the data.
      sigma: scale of the noise.
      d_alpha: derivative of alpha in time.
      d_sigma: derivative of sigma in time.
    """
    expected = self.denoised(x, alpha, sigma), self.noise(x, alpha, sigma)
    return d_alpha * expected[0] + d_sigma * expected[1]

  def flow(self, x, start, end):
    """Returns the state at `end` of the probability flow through x.

    Args:
      x: the state at `start`.
      start: (alpha, sigma) of x.
      end: (alpha, sigma) of the result.
    """
    ratio = self.deviation(*end) / self.deviation(*start)
    return end[0] * self.mean + ratio * (x - start[0] * self.mean)

  def consistency(self, x, sigma, sigma_min=0.0):
    """Returns EDM's consistency function of x = x0 + sigma n."""
    return self.flow(x, (1.0, sigma), (1.0, sigma_min))

  def linear_velocity(self, z, t):
    """Returns dz/dt of the linear path with data at t = 0."""
    return self.average_velocity(z, t, t)

  def linear_flow(self, z, t, r=0.0):
    """Returns the state at r of the linear path through z at t."""
    return self.flow(z, (1 - t, t), (1 - r, r))

  def average_velocity(self, z, t, r):
    """Returns (z - linear_flow(z, t, r)) / (t - r); also for r = t.

    Args:
      z: the state at t.
      t: the time of z.
      r: the other end of the interval.
    """
    at_t, at_r = self.deviation(1 - t, t), self.deviation(1 - r, r)
    slope = (t + r - self.std**2 * (2 - t - r)) / (at_t * (at_t + at_r))
    return slope * (z - (1 - t) * self.mean) - self.mean

  def edm_network(self, process, denoise=None):
    """Returns the network (x, t) -> F whose denoiser is exact.

    Args:
      process: an EDM process.
      denoise: the function (x, sigma) that the preconditioned network is; None
        selects the exact denoiser.
    """

    def exact(x, sigma):
      return self.denoised(x, 1.0, sigma)

    def net(scaled, t, *_, **__):
      sigma = process.sigma_of(t)
      c = jax.tree.map(
        lambda a: a.reshape(-1, *[1] * (scaled.ndim - 1)),
        process.coefficients(sigma),
      )
      x = scaled / c.c_in
      sigma = sigma.reshape(c.c_in.shape)
      return ((denoise or exact)(x, sigma) - c.c_skip * x) / c.c_out

    return net
