"""Evaluation results and their protocol, as a table and as JSON.

Scores of different protocols are not comparable, so `EvaluationResult` keeps
scores and protocol together and always prints both.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from get_jax.evaluation.extractors.registry import FeatureExtractor
from get_jax.evaluation.reference import Reference
from get_jax.storage import write_json
from get_jax.storage.paths import StrPath


@dataclasses.dataclass(frozen=True)
class EvaluationProtocol:
  """How samples were generated and evaluated.

  Attributes:
    samples: Number of images N, or their number and the file they were read
      from.
    seed: Seed of the samples, or None where they were read from a file.
    weights: For example "ema 0.9999 of step 400000".
    sampler: Name of the sampler, or "one call".
    steps: Steps of the sampler or equilibrium iterations.
    evaluations: Network evaluations per image.
    guidance: For example "1.5", or "none".
    captions: Digest of the texts that condition the samples, or None.
    decoder: File and digest of the decoder of latents.
    extractor: Name of the extractor.
    preprocessing: Transformation of the images before the network.
    weights_sha256: Digest of the extractor's weights.
    reference: Name of the real images.
    reference_sha256: Digest of their statistics.
    reference_count: Their number; None where the file does not contain it.
    preset: Paper whose evaluation the settings follow, or None.
    conventions: Options of the scores.
  """

  samples: int | str
  seed: int | None = None
  weights: str | None = None
  sampler: str | None = None
  steps: int | None = None
  evaluations: int | None = None
  guidance: str | None = None
  captions: str | None = None
  decoder: str | None = None
  extractor: str = ""
  preprocessing: str = ""
  weights_sha256: str = ""
  reference: str | None = None
  reference_sha256: str | None = None
  reference_count: int | None = None
  preset: str | None = None
  conventions: Mapping | None = None

  def with_evaluator(
    self, extractor: FeatureExtractor, reference: Reference | None
  ) -> "EvaluationProtocol":
    """Returns a copy with the fields of extractor and reference set."""
    protocol = dataclasses.replace(
      self,
      extractor=extractor.name,
      preprocessing=extractor.preprocessing,
      weights_sha256=extractor.digest,
    )
    if reference is None:
      return protocol
    return dataclasses.replace(
      protocol,
      reference=reference.name,
      reference_sha256=reference.digest,
      reference_count=reference.summary.statistics.count,
    )


@dataclasses.dataclass(frozen=True)
class EvaluationResult:
  """Scores with their protocol.

  Attributes:
    scores: Values by "score[extractor]", such as "fid[digits-v1]".
    protocol: How samples were generated and evaluated.
  """

  scores: Mapping[str, float]
  protocol: EvaluationProtocol

  def to_json(self) -> dict:
    """Returns plain values, as `results/*.json` contain them."""
    return {
      "scores": dict(self.scores),
      "protocol": dataclasses.asdict(self.protocol),
    }

  def table(self) -> Table:
    """Returns a table of the scores followed by the protocol."""
    table = Table("quality", "", show_edge=False)
    for score, value in self.scores.items():
      # Text, because rich would parse "[digits-v1]" as markup and drop it.
      table.add_row(Text(score), f"{value:.4f}")
    table.add_section()
    protocol = dataclasses.asdict(self.protocol)
    protocol |= protocol.pop("conventions") or {}
    for key, value in protocol.items():
      if value is not None:
        table.add_row(key.replace("_", " "), Text(str(value)))
    return table

  def print(self, console: Console | None = None) -> None:
    """Prints the table."""
    (console or Console()).print(self.table())

  def write(self, path: StrPath) -> None:
    """Writes `to_json()` to a file, atomically."""
    write_json(path, self.to_json())


def lowest_fid(results: Sequence[EvaluationResult]) -> EvaluationResult:
  """Selects the result with the lowest FID, as EDM reports of three.

  Args:
    results: Results of different seeds.

  Returns:
    The selected result; `protocol.preset` states the number of results and
    their FIDs.
  """

  def fid(result):
    return next(v for k, v in result.scores.items() if k.startswith("fid["))

  best = min(results, key=fid)
  if len(results) == 1:
    return best
  fids = ", ".join(f"{fid(result):.4f}" for result in results)
  selection = f"minimum of {len(results)} FIDs ({fids})"
  preset = best.protocol.preset
  protocol = dataclasses.replace(
    best.protocol, preset=f"{preset}: {selection}" if preset else selection
  )
  return EvaluationResult(best.scores, protocol)
