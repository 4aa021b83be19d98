"""Scores computed from class logits: inception score and class accuracy."""

import itertools
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from get_jax.errors import UsageError

# The published conventions, as arguments of `inception_score`. ADM's evaluator
# never shuffles: images sorted by class must be shuffled before. GET's takes
# ten splits in the given order.
INCEPTION_SCORE_CONVENTIONS: Mapping[str, dict[str, int]] = {
  "adm": {"split_size": 5000},
  "torch_fidelity": {"splits": 10, "shuffle_seed": 2020},
  "get": {"splits": 10},
}


def inception_score(
  logits: Float[np.ndarray, "N K"],
  *,
  splits: int = 1,
  split_size: int | None = None,
  shuffle_seed: int | None = None,
) -> tuple[float, float]:
  """Computes `exp(mean KL(p(y|x) || p(y)))` (Salimans et al. 2016) over splits.

  The logarithms are those of a stable log-softmax in float64, so a confident
  classifier does not yield NaN as it does in ADM's code.

  Args:
    logits: (N, K) unnormalized log-probabilities.
    splits: Number of consecutive parts of nearly equal length that are scored
      separately.
    split_size: Length of the parts instead of their number; the last may be
      shorter and has the same weight (ADM).
    shuffle_seed: Seed of `numpy.random.RandomState` for a permutation before
      splitting; None keeps the order.

  Returns:
    Mean and population standard deviation over the splits.

  Raises:
    UsageError: Fewer images than splits, or logits that are not finite.
  """
  logits = np.asarray(logits, np.float64)
  if not np.isfinite(logits).all():
    raise UsageError(
      "logits contain NaN or infinite values, expected finite ones"
    )
  count = len(logits)
  from scipy import special

  if shuffle_seed is not None:
    logits = logits[np.random.RandomState(shuffle_seed).permutation(count)]
  if split_size is not None:
    bounds = [*range(0, count, split_size), count]
  else:
    bounds = [i * count // splits for i in range(splits + 1)]
  if count < max(2, len(bounds) - 1):
    raise UsageError(
      f"an inception score over {len(bounds) - 1} splits needs as many images "
      f"and at least 2, found {count}"
    )
  scores = []
  for start, end in itertools.pairwise(bounds):
    log_p = special.log_softmax(logits[start:end], axis=1)
    log_marginal = special.logsumexp(log_p, axis=0) - np.log(end - start)
    divergence = np.sum(np.exp(log_p) * (log_p - log_marginal), axis=1)
    scores.append(np.exp(divergence.mean()))
  return float(np.mean(scores)), float(np.std(scores))


def class_accuracy(
  logits: Float[np.ndarray, "N K"], labels: Int[np.ndarray, " N"]
) -> float:
  """Returns the fraction of images classified as the requested class.

  Args:
    logits: (N, K).
    labels: (N,) integers, the requested class of each image.

  Returns:
    A number in [0, 1].

  Raises:
    UsageError: The numbers of logits and labels differ.
  """
  if len(logits) != len(labels):
    raise UsageError(
      f"class accuracy got {len(labels)} labels for {len(logits)} images, "
      "expected one per image"
    )
  return float(np.mean(np.argmax(logits, axis=1) == np.asarray(labels)))
