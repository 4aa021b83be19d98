"""Processes, objectives, samplers and guidance in pure JAX."""
