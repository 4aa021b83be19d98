"""Frechet distance between Gaussians (Heusel et al. 2017, equation 6).

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

The trace in the last term is usually computed with a matrix square root of
S1 S2, which is not symmetric and, with fewer images than features, singular:
published codes then add a ridge or drop imaginary parts. For any factors
S = L L^T it equals the nuclear norm (the sum of the singular values) of
L1^T L2, which is real and loses no precision: nothing is squared, and no root
of a rounding error is taken.
"""

import numpy as np

from get_jax.errors import UsageError
from get_jax.evaluation.statistics import GaussianStatistics


def frechet_distance(a: GaussianStatistics, b: GaussianStatistics) -> float:
  """Computes the Frechet distance of two sets from their statistics.

  It is FID for Inception's features and sFID for its spatial ones. It is
  biased in the number of images: compare at equal counts only.

  Args:
    a: Statistics of one set.
    b: Statistics of the other set; the distance is symmetric.

  Returns:
    The squared distance; 0 for identical statistics, up to rounding (it can be
    a tiny negative number).

  Raises:
    UsageError: The two differ in the number of features.
  """
  if a.dim != b.dim:
    raise UsageError(
      f"statistics have {a.dim} and {b.dim} features, expected the same "
      "number: they come from different extractors"
    )
  difference = a.mean - b.mean
  traces = np.trace(a.covariance) + np.trace(b.covariance)
  cross = _factor(a.covariance).T @ _factor(b.covariance)
  return float(difference @ difference + traces - 2 * _nuclear_norm(cross))


def _nuclear_norm(matrix: np.ndarray) -> float:
  from scipy import linalg

  if 0 in matrix.shape:
    return 0.0
  return float(linalg.svdvals(matrix).sum())


def _factor(covariance: np.ndarray) -> np.ndarray:
  """Returns L (D, rank) with L L^T = covariance.

  It is a Cholesky decomposition with complete pivoting that stops where the
  remainder is rounding error, so a singular covariance yields a thin factor
  instead of square roots of noise.
  """
  from scipy.linalg import lapack

  noise = len(covariance) * np.finfo(np.float64).eps
  factor, pivot, rank, _ = lapack.dpstrf(
    covariance, tol=noise * max(covariance.diagonal().max(), 0.0), lower=1
  )
  unpivoted = np.zeros((len(covariance), rank))
  unpivoted[pivot - 1] = np.tril(factor)[:, :rank]
  return unpivoted
