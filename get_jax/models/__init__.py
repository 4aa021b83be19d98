"""The networks: flax.linen modules without input or output."""
