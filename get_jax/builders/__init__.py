"""Builds the objects that a config describes: one module per object."""

__all__ = [
  "conditioning",
  "config_check",
  "config_keys",
  "data",
  "decoder",
  "evaluator",
  "generator",
  "mesh",
  "model",
  "objective",
  "process",
  "schema",
  "sections",
  "training_step",
]
