"""Numbers that the papers print: quality and sizes, one module per paper.

A module has `QUALITY`, a dictionary of `QualityTable`s, and, if the paper
describes models of its own, `SIZES`, a sequence of `SizeTable`s.
"""

__all__ = ["diffit", "dit", "edm", "get", "tables", "uvit"]
