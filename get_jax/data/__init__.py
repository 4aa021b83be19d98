"""Sources of records and the step-indexed pipeline."""

from get_jax.data.image_set import ImageSet as ImageSet
from get_jax.data.image_set import open_images as open_images
from get_jax.data.pipeline import Pipeline as Pipeline
from get_jax.data.sources import Source as Source
from get_jax.data.sources import create_source as create_source
