"""Interface of the samplers."""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax

from get_jax.diffusion.process import Process
from get_jax.diffusion.scheme import Preview, Scheme, integrate
from get_jax.diffusion.typing import Array, Network
from get_jax.errors import UsageError


class Sampler(abc.ABC):
  """Generates samples from noise with a trained network.

  Subclasses are frozen dataclasses whose first field is the process. They are
  hashable, and calling them is a pure function that can be jitted and sharded
  over the batch.

  Attributes:
    process_class: the class of processes that the sampler supports.
    network_fields: fields of the network with the values that the sampler
      needs.
  """

  process_class: ClassVar[type[Process]]
  network_fields: ClassVar[Mapping[str, Any]] = {"scalars": ()}
  process: Process

  def __post_init__(self):
    if not isinstance(self.process, self.process_class):
      raise UsageError(
        f"the sampler {type(self).__name__} needs "
        f"{self.process_class.description}, and not {self.process.description}"
      )

  @property
  @abc.abstractmethod
  def evaluations(self) -> int | None:
    """The number of network evaluations for one batch of samples.

    A guided network counts as one evaluation of twice the batch. None for an
    adaptive sampler.
    """

  @abc.abstractmethod
  def __call__(
    self,
    net: Network,
    noise: Callable[..., Array],
    shape: tuple[int, ...],
    *,
    trajectory: bool = False,
    preview: Preview | None = None,
  ):
    """Generates samples.

    Args:
      net: (x, t) -> raw output, with bound parameters, conditioning and
        guidance.
      noise: `SampleNoise` of the batch.
      shape: shape of one sample, for example (H, W, C).
      trajectory: whether to return the states as well.
      preview: reports intermediate estimates; None reports nothing.

    Returns:
      The samples, (B, *shape) float32, not clipped. With `trajectory`, a pair
      of the samples and the states at the start of every step followed by the
      samples, (steps + 1, B, *shape).
    """


class SchemeSampler(Sampler):
  """A sampler whose steps are known in advance, given by a `Scheme`."""

  @property
  @abc.abstractmethod
  def scheme(self) -> Scheme:
    """The coefficients of the sampler."""

  @abc.abstractmethod
  def predictor(self, net: Network) -> Callable[..., jax.Array]:
    """Returns the function (x, time) -> prediction for the scheme."""

  @abc.abstractmethod
  def denoised(self, x, time, prediction) -> jax.Array:
    """Returns the estimate of the clean data, given a prediction.

    Args:
      x: state (B, *shape).
      time: time of the row, scalar.
      prediction: the prediction at x and time, (B, *shape).
    """

  @property
  def evaluations(self) -> int:
    """See `Sampler.evaluations`."""
    return self.scheme.evaluations

  def __call__(self, net, noise, shape, *, trajectory=False, preview=None):
    """See `Sampler.__call__`."""
    return integrate(
      self.scheme,
      self.predictor(net),
      noise,
      shape,
      denoised=self.denoised,
      trajectory=trajectory,
      preview=preview,
    )
