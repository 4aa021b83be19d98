"""Chips and device topologies, including ones not attached, and host memory."""

__all__ = ["chips", "cuda", "host_memory", "rings", "slices", "topology"]
