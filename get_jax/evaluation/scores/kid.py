"""Kernel inception distance (Binkowski et al. 2018)."""

import numpy as np
from jaxtyping import Float

from get_jax.errors import UsageError


def squared_mmd(
  a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "M D"]
) -> float:
  """Estimates the squared maximum mean discrepancy, kernel `(x.y / D + 1)^3`.

  Args:
    a: (N, D) features, N >= 2.
    b: (M, D) features, M >= 2.

  Returns:
    The unbiased estimate; it can be negative for similar sets.
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

  def kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3

  def within(x):
    gram = kernel(x, x)
    return (gram.sum() - np.trace(gram)) / (len(x) * (len(x) - 1))

  return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def kernel_inception_distance(
  samples: Float[np.ndarray, "N D"],
  reference: Float[np.ndarray, "M D"],
  subsets: int = 100,
  subset_size: int = 1000,
  seed: int = 2020,
) -> tuple[float, float]:
  """Computes KID as torch-fidelity does: the mean over random subsets.

  Unlike FID it is unbiased: its mean does not depend on the number of images.

  Args:
    samples: (N, D) features of the samples.
    reference: (M, D) features of real images.
    subsets: Number of subsets.
    subset_size: Images per subset, chosen without replacement from each set.
    seed: Seed of `numpy.random.RandomState`.

  Returns:
    Mean and population standard deviation over the subsets.

  Raises:
    UsageError: A set is smaller than the subsets, or the numbers of features
      differ.
  """
  if np.shape(samples)[1:] != np.shape(reference)[1:]:
    raise UsageError(
      f"KID got features of shapes {np.shape(samples)} and "
      f"{np.shape(reference)}, expected (N, D) and (M, D)"
    )
  smaller = min(len(samples), len(reference))
  if not 2 <= subset_size <= smaller:
    raise UsageError(
      f"KID uses subsets of {subset_size} images, expected 2 to {smaller}, "
      "the size of the smaller set"
    )
  rng = np.random.RandomState(seed)
  values = []
  for _ in range(subsets):
    i = rng.choice(len(samples), subset_size, replace=False)
    j = rng.choice(len(reference), subset_size, replace=False)
    values.append(squared_mmd(samples[i], reference[j]))
  return float(np.mean(values)), float(np.std(values))
