"""Data sources, the step-indexed input pipeline, and the image reader."""

from get_jax.data.image_set import ImageSet, open_images
from get_jax.data.pipeline import Pipeline
from get_jax.data.sources import Source, create_source

__all__ = [
  "ImageSet",
  "Pipeline",
  "Source",
  "create_source",
  "open_images",
]
