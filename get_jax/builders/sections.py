"""Reads parts of a config that several builders share."""

import ml_collections

from get_jax.errors import UsageError


def name_and_fields(section: ml_collections.ConfigDict) -> tuple[str, dict]:
  """Splits a section of a config into its `name` and its other keys.

  Raises:
    UsageError: the section has no `name`.
  """
  fields = dict(section.items())
  if "name" not in fields:
    raise UsageError(f"a section of the config has no name: {fields}")
  return fields.pop("name"), fields
