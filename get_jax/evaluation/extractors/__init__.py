"""Feature extractors of images: Inception-v3 and small classifiers."""

__all__ = [
  "classifier",
  "classifier_training",
  "inception",
  "inception_extractor",
  "inception_weights",
  "preprocessing",
  "registry",
  "train_digits_classifier",
]
