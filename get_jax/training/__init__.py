"""State, optimiser, step, checkpoints, sharding and metrics."""
