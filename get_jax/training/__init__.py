"""State, optimizer, training step, loop, checkpoints, sharding and metrics."""

__all__ = [
  "checkpoint_folders",
  "checkpoints",
  "ema",
  "heartbeats",
  "loop",
  "metrics",
  "optimizer",
  "plots",
  "preemption",
  "process_group",
  "processes",
  "profiling",
  "rng",
  "shard_assignment",
  "sharding",
  "state",
  "step",
  "wandb_writer",
  "workdir",
]
