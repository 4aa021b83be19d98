"""Networks that are preconditioned by the noise level sigma.

Data is noised as x = x0 + sigma n. A network F is preconditioned as

  D(x, sigma) = c_skip x + c_out F(c_in x, c_noise)

Source: Karras et al., "Elucidating the Design Space of Diffusion-Based
Generative Models", Section 5.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from get_jax.diffusion.process import Process, as_float32, expand
from get_jax.diffusion.typing import Array, Network


class Coefficients(NamedTuple):
  """Preconditioning coefficients at given noise levels, each (B,) float32.

  Attributes:
    c_skip: weight of x.
    one_minus_c_skip: 1 - c_skip, in full precision also if c_skip is almost 1.
    c_out: scale of the output of F.
    c_in: scale of the input of F.
    c_noise: noise input of F.
  """

  c_skip: Float[Array, " B"]
  one_minus_c_skip: Float[Array, " B"]
  c_out: Float[Array, " B"]
  c_in: Float[Array, " B"]
  c_noise: Float[Array, " B"]


@dataclasses.dataclass(frozen=True)
class PreconditionedProcess(Process):
  """Base class of the processes whose levels are noise levels sigma.

  Attributes:
    time_scale: the time input of the network is time_scale * c_noise. 1 is the
      official value, for networks that embed c_noise itself. A transformer
      with a sinusoidal embedding of times 0 to 1000 needs a larger value.
  """

  description: ClassVar[str] = "a process with noise levels sigma"

  time_scale: float = 1.0

  @property
  def sigma_range(self) -> tuple[float, float]:
    """The lowest and the highest noise level that the network supports."""
    return 0.0, math.inf

  def round_sigma(self, sigma: Array) -> Array:
    """Returns the nearest noise levels that the network supports, float64."""
    return sigma

  def coefficients(self, sigma: Array) -> Coefficients:
    """Returns the preconditioning coefficients at sigma, (B,)."""
    raise NotImplementedError

  def sigma_of(self, t):
    """See `Process.sigma_of`; t is time_scale * c_noise."""
    raise NotImplementedError

  def denoiser(self, net: Network) -> Callable[..., jax.Array]:
    """Returns the preconditioned network D(x, sigma), which estimates x0.

    Args:
      net: see `Network`. If its output has more channels than x (a learned
        variance), the first C are used.

    Returns:
      A function of x (B, H, W, C) and sigma, scalar or (B,).
    """

    def denoise(x, sigma):
      x = as_float32(x)
      c, out = self._evaluate(net, x, sigma)
      return expand(c.c_skip, x) * x + expand(c.c_out, x) * out

    return denoise

  def residual(self, net: Network) -> Callable[..., jax.Array]:
    """Returns x - D(x, sigma), computed without the subtraction.

    The subtraction loses precision at small sigma. The argument and the
    returned function are as in `denoiser`.
    """

    def subtract(x, sigma):
      x = as_float32(x)
      c, out = self._evaluate(net, x, sigma)
      return expand(c.one_minus_c_skip, x) * x - expand(c.c_out, x) * out

    return subtract

  def predictor(self, net: Network) -> Callable[..., jax.Array]:
    """Returns the noise estimate (x - D) / sigma, dx/dsigma of the ODE.

    The argument and the returned function are as in `denoiser`.
    """
    residual = self.residual(net)

    def predict(x, sigma):
      x, sigma = as_float32(x), as_float32(sigma)
      return residual(x, sigma) / (expand(sigma, x) if sigma.ndim else sigma)

    return predict

  def _evaluate(self, net, x, sigma):
    sigma = jnp.broadcast_to(as_float32(sigma), x.shape[:1])
    c = self.coefficients(sigma)
    out = net(expand(c.c_in, x) * x, self.time_scale * c.c_noise)
    return c, as_float32(out[..., : x.shape[-1]])
