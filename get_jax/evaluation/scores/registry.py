"""All scores of a set of images against a reference, by name."""

import dataclasses
from collections.abc import Sequence

from get_jax.errors import UsageError
from get_jax.evaluation.scores.classifier_scores import (
  CONVENTIONS,
  class_accuracy,
  inception_score,
)
from get_jax.evaluation.scores.frechet import frechet_distance
from get_jax.evaluation.scores.kid import kernel_inception_distance
from get_jax.evaluation.scores.precision_recall import precision_recall
from get_jax.evaluation.summary import Summary

SCORES = (
  "fid",
  "sfid",
  "inception_score",
  "precision",
  "recall",
  "kid",
  "class_accuracy",
)
NEEDS_ROWS = frozenset({"precision", "recall", "kid"})


@dataclasses.dataclass(frozen=True)
class Conventions:
  """Choices in which published evaluators differ.

  Attributes:
    inception_score: A key of `classifier_scores.CONVENTIONS`.
    neighbours: k of precision and recall.
    half_precision: ADM's float16 distances in precision and recall.
    kid_subsets: Number of subsets of KID.
    kid_subset_size: Images in each.
    uint8_offset: Of `to_uint8`; decides how samples are rounded.
  """

  inception_score: str = "adm"
  neighbours: int = 3
  half_precision: bool = False
  kid_subsets: int = 100
  kid_subset_size: int = 1000
  uint8_offset: float = 128.0


def compute_scores(
  samples: Summary,
  reference: Summary | None,
  scores: Sequence[str] = ("fid", "inception_score"),
  conventions: Conventions = Conventions(),
) -> dict[str, float]:
  """Computes scores.

  Args:
    samples: The images to be measured.
    reference: The real images; may be None for scores that need none.
    scores: Names out of `SCORES`. Those in `NEEDS_ROWS` want both summaries
      made with `keep_rows=True`.
    conventions: How to compute them.

  Returns:
    Values by "score[extractor]", such as "fid[digits-v1]", in the order of
    `SCORES`; inception score and KID come with "..._std[extractor]".

  Raises:
    UsageError: An unknown score, or one that these images or this extractor
      cannot have.
  """
  for score in scores:
    if score not in SCORES:
      raise UsageError(f"unknown score {score!r}, expected some of {SCORES}")
    if score not in ("inception_score", "class_accuracy"):
      _check_reference(score, samples, reference)
  found = {}
  if "fid" in scores:
    found["fid"] = frechet_distance(samples.features, reference.features)
  if "sfid" in scores:
    found["sfid"] = frechet_distance(
      _part("sfid", samples, "spatial"), _part("sfid", reference, "spatial")
    )
  if "inception_score" in scores:
    logits = _part("inception_score", samples, "logits")
    found["inception_score"], found["inception_score_std"] = inception_score(
      logits, **CONVENTIONS[conventions.inception_score]
    )
  manifold = [score for score in ("precision", "recall") if score in scores]
  if manifold:
    both = precision_recall(
      *_rows(manifold[0], samples, reference),
      conventions.neighbours,
      conventions.half_precision,
    )
    values = dict(zip(("precision", "recall"), both, strict=True))
    found |= {score: values[score] for score in manifold}
  if "kid" in scores:
    found["kid"], found["kid_std"] = kernel_inception_distance(
      *_rows("kid", samples, reference),
      conventions.kid_subsets,
      conventions.kid_subset_size,
    )
  if "class_accuracy" in scores:
    found["class_accuracy"] = class_accuracy(
      _part("class_accuracy", samples, "logits"),
      _part("class_accuracy", samples, "labels"),
    )
  return {f"{key}[{samples.extractor}]": value for key, value in found.items()}


_WANTS = {
  "spatial": "spatial features",
  "rows": "the features of every image (keep_rows=True)",
  "logits": "an extractor that classifies",
  "labels": "the class that each sample was asked for",
}


def _part(score, summary, field):
  if getattr(summary, field) is None:
    raise UsageError(
      f"{score} needs {_WANTS[field]}, found none in images measured by "
      f"{summary.extractor!r}"
    )
  return getattr(summary, field)


def _rows(score, samples, reference):
  return _part(score, samples, "rows"), _part(score, reference, "rows")


def _check_reference(score, samples, reference):
  if reference is None:
    raise UsageError(f"{score} needs reference statistics, found none")
  if reference.extractor != samples.extractor:
    raise UsageError(
      f"the reference statistics were made by extractor "
      f"{reference.extractor!r}, expected {samples.extractor!r}, which "
      "measured the samples"
    )
