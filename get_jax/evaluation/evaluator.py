"""Evaluator: extractor, reference and scores to evaluate samples with."""

import dataclasses

from get_jax.evaluation.extractors.registry import FeatureExtractor
from get_jax.evaluation.features import FeatureSummary
from get_jax.evaluation.reference import Reference
from get_jax.evaluation.results import EvaluationProtocol, EvaluationResult
from get_jax.evaluation.scores.registry import (
  NEEDS_FEATURES,
  Conventions,
  compute_scores,
)


@dataclasses.dataclass(frozen=True)
class Evaluator:
  """Computes scores of samples against a reference.

  Attributes:
    extractor: Computes the features; it is never substituted.
    reference: The real images.
    scores: Names of the scores to compute.
    conventions: Options of the scores.
    preset: Name of the paper's preset that the settings follow, or None.
    count: Samples per evaluation.
    repeats: Evaluations with different seeds, of which the one with the lowest
      FID is reported.
  """

  extractor: FeatureExtractor
  reference: Reference
  scores: tuple[str, ...]
  conventions: Conventions
  preset: str | None
  count: int
  repeats: int

  @property
  def keep_features(self) -> bool:
    """Whether a score needs the features of all images at once."""
    return bool(NEEDS_FEATURES & set(self.scores))

  def evaluate(
    self, samples: FeatureSummary, protocol: EvaluationProtocol
  ) -> EvaluationResult:
    """Computes the scores of samples.

    Args:
      samples: The samples through `extractor`.
      protocol: How the samples were generated.

    Returns:
      The scores, and the protocol completed with that of the evaluation.
    """
    scores = compute_scores(
      samples, self.reference.summary, self.scores, self.conventions
    )
    protocol = dataclasses.replace(
      protocol,
      preset=self.preset,
      conventions=dataclasses.asdict(self.conventions),
    )
    return EvaluationResult(
      scores, protocol.with_evaluator(self.extractor, self.reference)
    )
