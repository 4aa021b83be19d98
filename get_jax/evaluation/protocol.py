"""What a score was measured with, in a table and in JSON.

A quality number without its protocol cannot be compared, so `Result` keeps
the two together and prints no one without the other.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from get_jax.evaluation.extractors.registry import FeatureExtractor
from get_jax.evaluation.reference import Reference


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How a score was made.

  Attributes:
    samples: Number of images N, or where they were read and how many.
    seed: Seed of the samples, or None where others made them.
    weights: Such as "ema 0.9999 of step 400000".
    sampler: Its name, or "one call".
    steps: Steps of the sampler or equilibrium iterations.
    evaluations: Network evaluations for one image.
    guidance: Such as "1.5", or "none".
    captions: Digest of the texts that the samples show, or None.
    decoder: Of latents: its file and digest.
    extractor: Its name.
    preprocessing: What the extractor does to images.
    weights_sha256: Digest of the extractor's weights.
    reference: Where the real images came from.
    reference_sha256: Digest of their statistics.
    reference_count: How many they are; None where the file does not say.
    preset: The paper whose way this is, or None.
    conventions: Choices inside the scores.
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

  def measured_by(
    self, extractor: FeatureExtractor, reference: Reference | None
  ) -> "Protocol":
    """The same with what is known of extractor and reference filled in."""
    found = dataclasses.replace(
      self,
      extractor=extractor.name,
      preprocessing=extractor.preprocessing,
      weights_sha256=extractor.digest,
    )
    if reference is None:
      return found
    return dataclasses.replace(
      found,
      reference=reference.name,
      reference_sha256=reference.digest,
      reference_count=reference.summary.features.count,
    )


@dataclasses.dataclass(frozen=True)
class Result:
  """Scores with their protocol.

  Attributes:
    scores: Values by "score[extractor]".
    protocol: How they were made.
  """

  scores: Mapping[str, float]
  protocol: Protocol

  def to_json(self) -> dict:
    """Plain values, as results/*.json hold them."""
    return {
      "scores": dict(self.scores),
      "protocol": dataclasses.asdict(self.protocol),
    }

  def table(self) -> Table:
    """Scores, then the protocol."""
    table = Table("quality", "", show_edge=False)
    for score, value in self.scores.items():
      # As Text: rich would take "[digits-v1]" for a style and swallow it.
      table.add_row(Text(score), f"{value:.4f}")
    table.add_section()
    facts = dataclasses.asdict(self.protocol)
    facts |= facts.pop("conventions") or {}
    for key, value in facts.items():
      if value is not None:
        table.add_row(key.replace("_", " "), Text(str(value)))
    return table

  def print(self, console: Console | None = None) -> None:
    """Prints the table."""
    (console or Console()).print(self.table())

  def write(self, path) -> None:
    """Writes `to_json`; the file appears whole or not at all."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(self.to_json(), indent=2), "utf-8")
    os.replace(unfinished, path)


def lowest_fid(results: Sequence[Result]) -> Result:
  """The result with the least FID, as EDM reports of three.

  Args:
    results: Results over different seeds.

  Returns:
    The best one; its protocol says out of how many, and all their FIDs.
  """

  def fid(result):
    return next(v for k, v in result.scores.items() if k.startswith("fid["))

  best = min(results, key=fid)
  if len(results) == 1:
    return best
  others = ", ".join(f"{fid(result):.4f}" for result in results)
  chosen = f"minimum of {len(results)} FIDs ({others})"
  preset = best.protocol.preset
  protocol = dataclasses.replace(
    best.protocol, preset=f"{preset}: {chosen}" if preset else chosen
  )
  return Result(best.scores, protocol)
