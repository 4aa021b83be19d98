"""Builds the data source of a config."""

import ml_collections

from get_jax.builders.sections import name_and_fields
from get_jax.data import Source, create_source


def build_source(config: ml_collections.ConfigDict) -> Source:
  """Builds the data source that `config.data` names."""
  name, fields = name_and_fields(config.data)
  return create_source(name, **fields)
