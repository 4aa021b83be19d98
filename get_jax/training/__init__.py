"""State, optimizer, training step, loop, checkpoints, sharding and metrics."""

__all__ = [
  "checkpoints",
  "ema",
  "loop",
  "metrics",
  "optimizer",
  "plots",
  "preemption",
  "processes",
  "profiling",
  "rng",
  "shard_assignment",
  "sharding",
  "state",
  "step",
  "workdir",
]
