"""Builds the data source of a config."""

from get_jax.builders.sections import name_and_fields
from get_jax.data import create_source


def build_source(config):
  """The data of `config.data`."""
  name, fields = name_and_fields(config.data)
  return create_source(name, **fields)
