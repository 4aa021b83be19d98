"""Builds the objects that a config describes: one module per object."""

__all__ = [
  "conditioning",
  "data",
  "decoder",
  "evaluator",
  "generator",
  "mesh",
  "model",
  "objective",
  "process",
  "sections",
  "training_step",
]
