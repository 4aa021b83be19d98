"""Accelerator chips and device topologies, including ones not attached."""

__all__ = ["chips", "cuda", "rings", "slices", "topology"]
