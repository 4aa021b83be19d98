"""What a figure is."""

import dataclasses
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Drawing:
  """A drawn figure.

  Attributes:
    figure: The figure, without title and notes.
    notes: Where the points are from, a sentence each.
  """

  figure: Figure
  notes: Sequence[str]


@dataclasses.dataclass(frozen=True)
class PaperFigure:
  """A figure that can be drawn by name.

  Attributes:
    title: What it shows, with the number of the paper's figure.
    draw: Function of the values of --run, ROW=WORKDIR each.
  """

  title: str
  draw: Callable[[Sequence[str]], Drawing]
