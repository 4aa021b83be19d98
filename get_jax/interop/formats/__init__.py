"""File formats of checkpoints, read without executing anything."""
