"""Mean and covariance of features, accumulated in float64 on the host.

The update is that of Chan, Golub and LeVeque (1979): batches are centred
before they are multiplied, so there is no cancellation however far the mean is
from zero, and two merged accumulators equal one that has seen both sets.
"""

import dataclasses

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Float, Float64
from numpy.typing import ArrayLike

from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class GaussianStatistics:
  """Mean and covariance of the features of a set of images.

  Attributes:
    mean: (D,) float64.
    covariance: (D, D) float64, unbiased (divided by count - 1).
    count: Number of images, or None where a file does not contain it.

  Raises:
    UsageError: The shapes do not match, or values are not finite.
  """

  mean: Float64[np.ndarray, " D"]
  covariance: Float64[np.ndarray, "D D"]
  count: int | None = None

  def __post_init__(self):
    width = self.mean.shape[0] if self.mean.ndim == 1 else -1
    if self.covariance.shape != (width, width):
      raise UsageError(
        f"statistics have a mean of shape {self.mean.shape} and a covariance "
        f"of shape {self.covariance.shape}, expected (D,) and (D, D)"
      )
    if not (
      np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()
    ):
      raise UsageError(
        "statistics contain NaN or infinite values, expected finite ones"
      )

  @property
  def dim(self) -> int:
    """Number of features D."""
    return self.mean.shape[0]

  @classmethod
  def from_features(
    cls, features: Float[np.ndarray, "N D"]
  ) -> "GaussianStatistics":
    """Computes the statistics of features (N, D) in memory."""
    running = RunningStatistics(np.shape(features)[-1])
    running.update(features)
    return running.compute()


class RunningStatistics:
  """Accumulates `GaussianStatistics` over batches, in 2 D^2 floats of memory.

  Args:
    dim: Number of features D.
  """

  def __init__(self, dim: int):
    self.count = 0
    self.mean = np.zeros(dim)
    self.scatter = np.zeros((dim, dim))  # sum of (x - mean)(x - mean)^T

  def update(self, features: ArrayLike) -> None:
    """Adds a batch of features.

    Args:
      features: (B, D), or (B, ...) with D values per image; any float type.

    Raises:
      UsageError: NaN or infinite features, or a number of values other than D.
    """
    features = np.asarray(features, np.float64)
    width = int(np.prod(features.shape[1:]))
    features = features.reshape(len(features), width)
    if width != len(self.mean):
      raise UsageError(
        f"features have width {width}, expected {len(self.mean)}"
      )
    if len(features) == 0:
      return
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
      raise UsageError(
        f"features of {(~finite).sum()} of the {len(features)} images after "
        f"image {self.count} contain NaN or infinite values, expected finite "
        "ones"
      )
    mean = features.mean(axis=0)
    self._add(len(features), mean, features - mean)

  def merge(self, other: "RunningStatistics") -> None:
    """Adds everything that `other` has accumulated."""
    if other.count:
      self.scatter += other.scatter
      self._add(other.count, other.mean, np.empty((0, len(self.mean))))

  def _add(self, count: int, mean: np.ndarray, centred: np.ndarray) -> None:
    # The correction for the two means is one more row of the product.
    step = mean - self.mean
    total = self.count + count
    row = np.sqrt(self.count * count / total) * step
    rows = np.concatenate([centred, row[None]])
    self.scatter += rows.T @ rows
    self.mean += step * (count / total)
    self.count = total

  def compute(self) -> GaussianStatistics:
    """Returns the statistics of all accumulated features.

    Raises:
      UsageError: There are fewer than two images.
    """
    if self.count < 2:
      raise UsageError(f"statistics need at least 2 images, found {self.count}")
    return GaussianStatistics(
      self.mean.copy(), self.scatter / (self.count - 1), self.count
    )


def merge_across_processes(running: RunningStatistics) -> RunningStatistics:
  """Merges the accumulators of all processes; every process gets the result.

  It is a collective: every process must call it. With one process it returns
  its argument.
  """
  if jax.process_count() == 1:
    return running

  # JAX would round float64 to float32 in transit, so the bits are sent.
  def gather(array):
    bits = np.ascontiguousarray(array).view(np.uint32)
    gathered = np.asarray(multihost_utils.process_allgather(bits))
    return gathered.view(np.float64)

  counts = gather(np.array([float(running.count)]))[:, 0]
  means = gather(running.mean)
  merged = RunningStatistics(len(running.mean))
  for process, scatter in enumerate(gather(running.scatter)):
    part = RunningStatistics(len(running.mean))
    part.count, part.mean = int(counts[process]), means[process]
    part.scatter = scatter
    merged.merge(part)
  return merged
