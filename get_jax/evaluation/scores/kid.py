"""Kernel inception distance (Binkowski et al. 2018)."""

import numpy as np

from get_jax.errors import UsageError


def squared_mmd(a, b) -> float:
  """Unbiased squared maximum mean discrepancy, kernel `(x.y / D + 1)^3`.

  Args:
    a: (N, D) features, N >= 2.
    b: (M, D) features, M >= 2.

  Returns:
    The estimate; it is below zero for sets that are alike.
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

  def kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3

  def within(x):
    gram = kernel(x, x)
    return (gram.sum() - np.trace(gram)) / (len(x) * (len(x) - 1))

  return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def kernel_inception_distance(
  samples, reference, subsets: int = 100, subset_size: int = 1000, seed=2020
) -> tuple[float, float]:
  """KID as torch-fidelity draws it: the mean over random subsets.

  Unlike FID it is unbiased: its mean does not depend on the number of images.

  Args:
    samples: (N, D) features of the samples.
    reference: (M, D) features of real images.
    subsets: Number of subsets.
    subset_size: Rows of each, drawn without replacement from either set.
    seed: Seed of `numpy.random.RandomState`.

  Returns:
    Mean and population standard deviation over the subsets.

  Raises:
    UsageError: A set is smaller than the subsets, or the widths differ.
  """
  if np.shape(samples)[1:] != np.shape(reference)[1:]:
    raise UsageError(
      f"KID got features of shapes {np.shape(samples)} and "
      f"{np.shape(reference)}, expected (N, D) and (M, D)"
    )
  smaller = min(len(samples), len(reference))
  if not 2 <= subset_size <= smaller:
    raise UsageError(
      f"KID draws subsets of {subset_size} images, expected 2 to {smaller}, "
      "the size of the smaller set"
    )
  rng = np.random.RandomState(seed)
  values = []
  for _ in range(subsets):
    ours = rng.choice(len(samples), subset_size, replace=False)
    theirs = rng.choice(len(reference), subset_size, replace=False)
    values.append(squared_mmd(samples[ours], reference[theirs]))
  return float(np.mean(values)), float(np.std(values))
