"""Noise/image pairs: making, storing and learning from them."""
