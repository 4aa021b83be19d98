"""Noise/image pairs: storage, one-step student and distillation objective."""

__all__ = ["objective", "pairs", "student"]
