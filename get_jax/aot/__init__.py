"""Ahead-of-time compilation for hardware you do not have."""
