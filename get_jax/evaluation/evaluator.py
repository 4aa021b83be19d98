"""Evaluator: extractor, reference and scores that measure samples."""

import dataclasses

from get_jax.evaluation.extractors.registry import FeatureExtractor
from get_jax.evaluation.protocol import Protocol, Result
from get_jax.evaluation.reference import Reference
from get_jax.evaluation.scores.registry import (
  NEEDS_ROWS,
  Conventions,
  compute_scores,
)


@dataclasses.dataclass(frozen=True)
class Evaluator:
  """What samples are measured with.

  Attributes:
    extractor: makes features; never substituted.
    reference: the real images.
    scores: names of what is computed.
    conventions: choices inside the scores.
    preset: the paper whose way this is, or None.
    count: samples per measurement.
    repeats: measurements with other seeds, of which the least FID counts.
  """

  extractor: FeatureExtractor
  reference: Reference
  scores: tuple[str, ...]
  conventions: Conventions
  preset: str | None
  count: int
  repeats: int

  @property
  def keep_rows(self) -> bool:
    """Whether a score needs all features at once."""
    return bool(NEEDS_ROWS & set(self.scores))

  def result(self, summary, protocol: Protocol) -> Result:
    """Scores of measured samples with their protocol."""
    scores = compute_scores(
      summary, self.reference.summary, self.scores, self.conventions
    )
    protocol = dataclasses.replace(
      protocol,
      preset=self.preset,
      conventions=dataclasses.asdict(self.conventions),
    )
    return Result(scores, protocol.measured_by(self.extractor, self.reference))
