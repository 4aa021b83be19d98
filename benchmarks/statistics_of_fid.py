"""Statistics of FID: mean and covariance of features, and the distance.

The mean and covariance are computed in batches, in float64 sums. NumPy's are
those of all features at once. The distance is compared with the formula of
pytorch-fid, which takes the matrix root of the product of the covariances.
"""

import functools

import numpy as np
import scipy.linalg
from timing import Cases, Row, Scale, median_ratio, medians, time_alternately

from get_jax.evaluation import RunningStatistics
from get_jax.evaluation.scores.frechet import frechet_distance
from get_jax.evaluation.statistics import GaussianStatistics


def features(count: int, dim: int, seed: int) -> np.ndarray:
  """Returns correlated, non-negative rows (count, dim) float32."""
  rng = np.random.default_rng(seed)
  x = rng.standard_normal((count, dim), np.float32)
  return np.maximum(x + 0.5 * np.roll(x, 1, axis=1), 0) + 1


def stream(rows: np.ndarray, batch: int = 250) -> GaussianStatistics:
  """Returns the statistics of rows, added in batches."""
  running = RunningStatistics(rows.shape[1])
  for start in range(0, len(rows), batch):
    running.update(rows[start : start + batch])
  return running.compute()


def at_once(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and covariance by NumPy in float64."""
  return rows.mean(0, dtype=np.float64), np.cov(rows, rowvar=False)


def root_distance(a: GaussianStatistics, b: GaussianStatistics) -> float:
  """Returns the Frechet distance by the root of a matrix product."""
  root = scipy.linalg.sqrtm(a.covariance @ b.covariance)
  traces = np.trace(a.covariance) + np.trace(b.covariance)
  difference = a.mean - b.mean
  return float(difference @ difference + traces - 2 * np.trace(root).real)


def cases(scale: Scale) -> Cases:
  """Returns one case for the statistics and one for the distance."""
  return {
    "statistics": functools.partial(statistics_rows, scale),
    "distance": functools.partial(distance_rows, scale),
  }


def statistics_rows(scale: Scale) -> list[Row]:
  """Returns one row for mean and covariance."""
  dim = scale.select(paper=2048, small=2048, tiny=16)
  rows = features(scale.select(paper=5000, small=2000, tiny=32), dim, 0)
  functions = {"ours": lambda: stream(rows), "numpy": lambda: at_once(rows)}
  return [_row("mean and covariance", len(rows), dim, functions, scale)]


def distance_rows(scale: Scale) -> list[Row]:
  """Returns one row for the distance.

  Raises:
    AssertionError: the two formulas disagree.
  """
  dim = scale.select(paper=2048, small=768, tiny=8)
  a, b = (stream(features(4 * dim, dim, seed)) for seed in (0, 1))
  difference = frechet_distance(a, b) - root_distance(a, b)
  assert abs(difference) < 1e-6 * np.trace(a.covariance), difference
  functions = {
    "ours": lambda: frechet_distance(a, b),
    "numpy": lambda: root_distance(a, b),
  }
  return [_row("Frechet distance", None, dim, functions, scale)]


def _row(name, count, dim, functions, scale) -> Row:
  runs = time_alternately(functions, scale.repeats)
  seconds = medians(runs)
  return {
    "what": name,
    "features": dim,
    "images": count,
    "get_jax, ms": 1e3 * seconds["ours"],
    "NumPy and SciPy, ms": 1e3 * seconds["numpy"],
    "ratio": median_ratio(runs["ours"], runs["numpy"]),
    "images/s": count and count / seconds["ours"],
  }
