"""The papers' figures by name, drawn with published points and our runs."""

from paper_figures import attention, diffit, dit, get, uvit
from paper_figures.figure import PaperFigure

FIGURES: dict[str, PaperFigure] = {
  **get.FIGURES,
  **dit.FIGURES,
  **uvit.FIGURES,
  **diffit.FIGURES,
  **attention.FIGURES,
}

__all__ = ["FIGURES"]
