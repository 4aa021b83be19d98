"""What a sampler is."""

import abc
from collections.abc import Callable
from typing import ClassVar

import jax

from get_jax.diffusion.process import Network, Process
from get_jax.diffusion.scheme import Scheme, integrate
from get_jax.errors import UsageError


class Sampler(abc.ABC):
  """From noise to samples with a trained network.

  Subclasses are frozen dataclasses whose first field is the process; they
  are hashable, and calling them is a pure function that may be jitted and
  sharded over the batch.

  Attributes:
    needs: the kind of process that it can run backwards.
  """

  needs: ClassVar[type[Process]]
  process: Process

  def __post_init__(self):
    if not isinstance(self.process, self.needs):
      raise UsageError(
        f"the sampler {type(self).__name__} needs {self.needs.kind}, "
        f"and not {self.process.kind}"
      )

  @property
  @abc.abstractmethod
  def evaluations(self) -> int:
    """How often the network is evaluated for one batch of samples.

    A guided network counts as one evaluation of twice the batch.
    """

  @abc.abstractmethod
  def __call__(
    self, net: Network, noise, shape, *, trajectory=False, preview=None
  ):
    """Draws samples.

    Args:
      net: (x, t) -> raw output, with parameters, labels and guidance closed
        over.
      noise: `SampleNoise` of the batch.
      shape: of one sample, for example (H, W, C).
      trajectory: whether to return the states as well.
      preview: `Preview` or None.

    Returns:
      (B, *shape) float32, not clipped; with `trajectory` a pair of it and
      the states at the begin of every step followed by the samples,
      (steps + 1, B, *shape).
    """


class SchemeSampler(Sampler):
  """A sampler whose steps are known beforehand: a table and what it is of."""

  @property
  @abc.abstractmethod
  def scheme(self) -> Scheme:
    """The sampler as a table."""

  @abc.abstractmethod
  def predict(self, net: Network) -> Callable[..., jax.Array]:
    """What the table combines, a function of the state and the row's time."""

  @abc.abstractmethod
  def denoised(self, x, time, prediction) -> jax.Array:
    """The estimate of the clean data that a prediction stands for."""

  @property
  def evaluations(self):
    """See `Sampler.evaluations`."""
    return self.scheme.evaluations

  def __call__(self, net, noise, shape, *, trajectory=False, preview=None):
    """See `Sampler.__call__`."""
    return integrate(
      self.scheme,
      self.predict(net),
      noise,
      shape,
      denoised=self.denoised,
      trajectory=trajectory,
      preview=preview,
    )
