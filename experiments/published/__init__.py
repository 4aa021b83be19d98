"""Numbers that the papers print, one or two files per paper.

`PAPER.toml` has the tables of scores (`QualityTable`). `PAPER.py` has `SIZES`,
the tables of model sizes (`SizeTable`), where the paper prints any.
"""

__all__ = ["diffit", "dit", "get", "tables", "uvit"]
