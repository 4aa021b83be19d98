"""Builds the objects that a config describes: one module per object."""

__all__ = [
  "conditioning",
  "config_check",
  "config_file",
  "config_keys",
  "data",
  "decoder",
  "evaluator",
  "experiments",
  "generator",
  "mesh",
  "model",
  "objective",
  "process",
  "sampling_options",
  "schema",
  "sections",
  "training_step",
]
