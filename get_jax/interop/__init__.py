"""Official checkpoints, read without executing anything."""
