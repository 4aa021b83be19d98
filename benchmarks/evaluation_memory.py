"""Accuracy and memory of the scores at the papers' sizes, on the CPU.

  python benchmarks/evaluation_memory.py statistics
  python benchmarks/evaluation_memory.py precision_recall

`statistics` streams 50,000 x 2,048 features and compares with two passes in
float64 (half a minute on two cores); `precision_recall` takes 10,000 against
50,000 rows (some minutes). Memory is what the process grew by at its peak.
"""

import argparse
import resource
import time

import numpy as np
from tqdm import tqdm, trange

from get_jax.evaluation import RunningStatistics, precision_recall

COUNT, DIM, BATCH = 50_000, 2048, 250


def peak_bytes() -> int:
  """Largest resident size of this process so far."""
  return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def features(batch: int) -> np.ndarray:
  """Non-negative, skewed, correlated rows, as Inception's pool is."""
  rng = np.random.default_rng(batch)
  x = rng.standard_normal((BATCH, DIM), dtype=np.float32)
  x += 0.5 * np.roll(x, 1, axis=1)
  return 0.4 * np.maximum(x, 0) ** 1.5 + 5


def statistics():
  """Streamed against two-pass mean and covariance."""
  features(0)
  before, start = peak_bytes(), time.perf_counter()
  running = RunningStatistics(DIM)
  for batch in trange(COUNT // BATCH, desc="streaming", unit="batch"):
    running.update(features(batch))
  found = running.compute()
  grown, seconds = peak_bytes() - before, time.perf_counter() - start
  batches = range(COUNT // BATCH)
  mean = sum(features(b).sum(0, dtype=np.float64) for b in tqdm(batches))
  mean /= COUNT
  scatter = np.zeros((DIM, DIM))
  for batch in tqdm(batches, desc="second pass", unit="batch"):
    centred = features(batch) - mean
    scatter += centred.T @ centred
  wanted = scatter / (COUNT - 1)

  def error(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)

  print(
    f"{COUNT} x {DIM} streamed in {seconds:.0f} s: mean off by "
    f"{error(found.mean, mean):.1e}, covariance by "
    f"{error(found.covariance, wanted):.1e} (relative), "
    f"{grown / 1e6:.0f} MB"
  )


def manifold():
  """Precision and recall of 50,000 samples against 10,000 images."""
  rows = np.concatenate([features(b) for b in range(60_000 // BATCH)])
  before, start = peak_bytes(), time.perf_counter()
  found = precision_recall(rows[:COUNT], rows[COUNT:])
  seconds = time.perf_counter() - start
  print(
    f"precision {found[0]:.4f}, recall {found[1]:.4f} of 50,000 against "
    f"10,000 rows in {seconds:.0f} s; grew by "
    f"{(peak_bytes() - before) / 1e9:.2f} GB, {peak_bytes() / 1e9:.2f} GB with "
    "the features themselves"
  )


if __name__ == "__main__":
  parser = argparse.ArgumentParser()
  parser.add_argument("what", choices=["statistics", "precision_recall"])
  chosen = {"statistics": statistics, "precision_recall": manifold}
  chosen[parser.parse_args().what]()
