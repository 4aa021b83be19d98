"""Types of the published tables: scores and model sizes."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class QualityTable:
  """A published table of scores.

  Attributes:
    title: Paper, number and subject of the table.
    preset: Evaluation protocol of the paper, a key of
      `get_jax.evaluation.PRESETS`.
    scores: Names of the columns.
    rows: Values of each row in the order of `scores`; NaN where the paper gives
      none.
    notes: What a reader must know before comparing.
  """

  title: str
  preset: str
  scores: Sequence[str]
  rows: Mapping[str, Sequence[float]]
  notes: str = ""


@dataclasses.dataclass(frozen=True)
class SizeRow:
  """A row of a published table of model sizes.

  Attributes:
    label: Name of the row in the paper.
    model: Name in the model registry of `get_jax.models`.
    params: Millions of parameters as printed; None where the paper prints none.
    macs: Billions of multiply-adds as printed; None where the paper prints
      none.
    fields: Fields of the model that differ from those of the named variant.
    extra_macs: What the paper counts in addition to matrix products: a number,
      or a function of the model.
    note: What is wrong or unusual about the printed numbers.
  """

  label: str
  model: str
  params: str | None = None
  macs: str | None = None
  fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  extra_macs: int | Callable[[Any], int] = 0
  note: str = ""


@dataclasses.dataclass(frozen=True)
class SizeTable:
  """A published table of model sizes.

  Attributes:
    title: Paper, number and subject of the table.
    rows: Its rows.
    position_table: Whether the paper counts the table of position embeddings.
    notes: What a reader must know before comparing.
  """

  title: str
  rows: Sequence[SizeRow]
  position_table: bool = False
  notes: str = ""
