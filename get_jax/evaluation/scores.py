"""All scores of a set of images against a reference, by name."""

from collections.abc import Sequence

from get_jax.errors import UsageError
from get_jax.evaluation.frechet import frechet_distance
from get_jax.evaluation.inception_score import (
  CONVENTIONS,
  class_accuracy,
  inception_score,
)
from get_jax.evaluation.summary import Summary

SCORES = ("fid", "sfid", "inception_score", "class_accuracy")


def compute_scores(
  samples: Summary,
  reference: Summary | None,
  scores: Sequence[str] = ("fid", "inception_score"),
  inception_convention: str = "adm",
) -> dict[str, float]:
  """Computes scores.

  Args:
    samples: The images to be measured.
    reference: The real images; may be None for scores that need none.
    scores: Names out of `SCORES`.
    inception_convention: A key of `inception_score.CONVENTIONS`.

  Returns:
    Values by "score[extractor]", such as "fid[digits-v1]"; the inception
    score comes with "inception_score_std[...]".

  Raises:
    UsageError: An unknown score, or one that these images or this extractor
      cannot have.
  """
  found = {}
  for score in scores:
    if score not in SCORES:
      raise UsageError(f"unknown score {score!r}, expected some of {SCORES}")
    if score in ("fid", "sfid"):
      found[score] = _frechet(score, samples, reference)
    elif score == "inception_score":
      mean, std = inception_score(
        _logits(score, samples), **CONVENTIONS[inception_convention]
      )
      found |= {score: mean, f"{score}_std": std}
    elif score == "class_accuracy":
      if samples.labels is None:
        raise UsageError(
          "class_accuracy needs the classes that were asked for, found none: "
          "are the samples unconditional?"
        )
      found[score] = class_accuracy(_logits(score, samples), samples.labels)
  return {f"{key}[{samples.extractor}]": value for key, value in found.items()}


def _frechet(score, samples, reference):
  field = {"fid": "features", "sfid": "spatial"}[score]
  if reference is None:
    raise UsageError(f"{score} needs reference statistics, found none")
  if reference.extractor != samples.extractor:
    raise UsageError(
      f"the reference statistics were made by extractor "
      f"{reference.extractor!r}, expected {samples.extractor!r}, which "
      "measured the samples"
    )
  for summary, whose in ((samples, "samples"), (reference, "reference")):
    if getattr(summary, field) is None:
      raise UsageError(
        f"{score} needs spatial features, found none in the {whose}"
      )
  return frechet_distance(getattr(samples, field), getattr(reference, field))


def _logits(score, samples):
  if samples.logits is None:
    raise UsageError(
      f"{score} needs an extractor that classifies, found "
      f"{samples.extractor!r}, which gives no logits"
    )
  return samples.logits
