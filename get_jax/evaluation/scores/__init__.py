"""Scores of sample quality, and their computation by name (`registry`)."""

__all__ = [
  "classifier_scores",
  "frechet",
  "kid",
  "precision_recall",
  "registry",
]
