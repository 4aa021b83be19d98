"""Scores of sample quality, one module each."""
