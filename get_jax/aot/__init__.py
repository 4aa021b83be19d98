"""Ahead-of-time compilation for hardware you do not have."""

__all__ = [
  "collectives",
  "fit_search",
  "hlo",
  "lower",
  "memory",
  "report",
  "roofline",
  "tables",
]
