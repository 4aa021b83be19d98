"""Computes scores of a set of images against a reference, by name."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from get_jax.errors import UsageError
from get_jax.evaluation.features import FeatureSummary
from get_jax.evaluation.scores.classifier_scores import (
  INCEPTION_SCORE_CONVENTIONS,
  class_accuracy,
  inception_score,
)
from get_jax.evaluation.scores.frechet import frechet_distance
from get_jax.evaluation.scores.kid import kernel_inception_distance
from get_jax.evaluation.scores.precision_recall import precision_recall

SCORES = (
  "fid",
  "sfid",
  "inception_score",
  "precision",
  "recall",
  "kid",
  "class_accuracy",
)
NEEDS_FEATURES = frozenset({"precision", "recall", "kid"})
_NEEDS_NO_REFERENCE = frozenset({"inception_score", "class_accuracy"})


@dataclasses.dataclass(frozen=True)
class Conventions:
  """Options of the scores in which published evaluators differ.

  Attributes:
    inception_score: A key of `classifier_scores.INCEPTION_SCORE_CONVENTIONS`.
    neighbours: k of precision and recall.
    half_precision: ADM's float16 distances in precision and recall.
    kid_subsets: Number of subsets of KID.
    kid_subset_size: Images per subset.
    uint8_offset: Offset of `to_uint8`; determines how samples are rounded.
  """

  inception_score: str = "adm"
  neighbours: int = 3
  half_precision: bool = False
  kid_subsets: int = 100
  kid_subset_size: int = 1000
  uint8_offset: float = 128.0


def compute_scores(
  samples: FeatureSummary,
  reference: FeatureSummary | None,
  scores: Sequence[str] = ("fid", "inception_score"),
  conventions: Conventions = Conventions(),
) -> dict[str, float]:
  """Computes scores.

  Args:
    samples: The images to evaluate.
    reference: The real images; may be None for scores that need none.
    scores: Names out of `SCORES`. Those in `NEEDS_FEATURES` need both summaries
      computed with `keep_features=True`.
    conventions: Options of the scores.

  Returns:
    Values by "score[extractor]", such as "fid[digits-v1]", in the order of
    `SCORES`; inception score and KID are followed by "..._std[extractor]".

  Raises:
    UsageError: A score is unknown, or cannot be computed for these images or
      with this extractor.
  """
  for score in scores:
    if score not in SCORES:
      raise UsageError(f"unknown score {score!r}, expected some of {SCORES}")
    if score not in _NEEDS_NO_REFERENCE:
      _check_reference(score, samples, reference)

  def pair(score: str, field: str) -> tuple[Any, Any]:
    return _get(score, samples, field), _get(score, reference, field)

  values: dict[str, float] = {}
  if "fid" in scores:
    values["fid"] = frechet_distance(*pair("fid", "statistics"))
  if "sfid" in scores:
    values["sfid"] = frechet_distance(*pair("sfid", "spatial_statistics"))
  if "inception_score" in scores:
    values["inception_score"], values["inception_score_std"] = inception_score(
      _get("inception_score", samples, "logits"),
      **INCEPTION_SCORE_CONVENTIONS[conventions.inception_score],
    )
  requested = [score for score in ("precision", "recall") if score in scores]
  if requested:
    precision, recall = precision_recall(
      *pair(requested[0], "features"),
      neighbours=conventions.neighbours,
      half_precision=conventions.half_precision,
    )
    both = {"precision": precision, "recall": recall}
    values |= {score: both[score] for score in requested}
  if "kid" in scores:
    values["kid"], values["kid_std"] = kernel_inception_distance(
      *pair("kid", "features"),
      subsets=conventions.kid_subsets,
      subset_size=conventions.kid_subset_size,
    )
  if "class_accuracy" in scores:
    values["class_accuracy"] = class_accuracy(
      _get("class_accuracy", samples, "logits"),
      _get("class_accuracy", samples, "labels"),
    )
  return {f"{key}[{samples.extractor}]": value for key, value in values.items()}


_FIELD_DESCRIPTIONS = {
  "spatial_statistics": "spatial features",
  "features": "the features of every image (keep_features=True)",
  "logits": "an extractor that classifies",
  "labels": "the requested class of each sample",
}


def _get(score: str, summary: FeatureSummary | None, field: str) -> Any:
  """Returns a field of a summary, which must not be None."""
  assert summary is not None  # by _check_reference
  value = getattr(summary, field)
  if value is None:
    raise UsageError(
      f"{score} needs {_FIELD_DESCRIPTIONS[field]}, found none in images "
      f"evaluated with {summary.extractor!r}"
    )
  return value


def _check_reference(
  score: str, samples: FeatureSummary, reference: FeatureSummary | None
) -> None:
  if reference is None:
    raise UsageError(f"{score} needs reference statistics, found none")
  if reference.extractor != samples.extractor:
    raise UsageError(
      f"the reference statistics were computed by extractor "
      f"{reference.extractor!r}, expected {samples.extractor!r}, the extractor "
      "of the samples"
    )
