"""Accuracy and memory of evaluation scores at the papers' sizes, on the CPU.

  python benchmarks/evaluation_memory.py statistics
  python benchmarks/evaluation_memory.py precision_recall

`statistics` computes mean and covariance of 50,000 x 2,048 features in one
streaming pass and compares them with two passes in float64 (half a minute on
two cores). `precision_recall` compares 10,000 rows with 50,000 (several
minutes). Memory is the increase of the peak resident size of the process.
"""

import argparse
import resource
import time

import numpy as np
from tqdm import tqdm, trange

from get_jax.evaluation import RunningStatistics, precision_recall

COUNT, DIM, BATCH = 50_000, 2048, 250


def peak_bytes() -> int:
  """Returns the peak resident size of this process, in bytes."""
  return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def features(batch: int) -> np.ndarray:
  """Returns non-negative, skewed, correlated rows, like Inception features.

  Args:
    batch: number of the batch, which is the seed.

  Returns:
    (BATCH, DIM) float32.
  """
  rng = np.random.default_rng(batch)
  x = rng.standard_normal((BATCH, DIM), dtype=np.float32)
  x += 0.5 * np.roll(x, 1, axis=1)
  return 0.4 * np.maximum(x, 0) ** 1.5 + 5


def statistics() -> None:
  """Compares streamed with two-pass mean and covariance."""
  features(0)
  before, start = peak_bytes(), time.perf_counter()
  running = RunningStatistics(DIM)
  for batch in trange(COUNT // BATCH, desc="streaming", unit="batch"):
    running.update(features(batch))
  streamed = running.compute()
  growth, seconds = peak_bytes() - before, time.perf_counter() - start
  batches = range(COUNT // BATCH)
  mean = sum(features(b).sum(0, dtype=np.float64) for b in tqdm(batches))
  mean /= COUNT
  scatter = np.zeros((DIM, DIM))
  for batch in tqdm(batches, desc="second pass", unit="batch"):
    centred = features(batch) - mean
    scatter += centred.T @ centred
  covariance = scatter / (COUNT - 1)

  def error(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)

  print(
    f"{COUNT} x {DIM} streamed in {seconds:.0f} s: error of mean "
    f"{error(streamed.mean, mean):.1e}, covariance by "
    f"{error(streamed.covariance, covariance):.1e} (relative), "
    f"{growth / 1e6:.0f} MB"
  )


def manifold() -> None:
  """Computes precision and recall of 50,000 samples and 10,000 images."""
  rows = np.concatenate([features(b) for b in range(60_000 // BATCH)])
  before, start = peak_bytes(), time.perf_counter()
  precision, recall = precision_recall(rows[:COUNT], rows[COUNT:])
  seconds = time.perf_counter() - start
  print(
    f"precision {precision:.4f}, recall {recall:.4f} of 50,000 against "
    f"10,000 rows in {seconds:.0f} s; "
    f"{(peak_bytes() - before) / 1e9:.2f} GB, {peak_bytes() / 1e9:.2f} GB with "
    "the features"
  )


if __name__ == "__main__":
  parser = argparse.ArgumentParser()
  benchmarks = {"statistics": statistics, "precision_recall": manifold}
  parser.add_argument("benchmark", choices=list(benchmarks))
  benchmarks[parser.parse_args().benchmark]()
