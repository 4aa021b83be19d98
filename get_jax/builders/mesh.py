"""Builds the device meshes of a config."""

import jax

from get_jax.training.sharding import AXES, make_mesh


def build_mesh(config, devices=None):
  """The mesh of `config.mesh` over all devices, or those given."""
  return make_mesh([config.mesh[axis] for axis in AXES], devices)


def build_sampling_mesh(config):
  """Where samples are drawn: every process on its own devices.

  Samples do not depend on one another, so no process waits for another.
  """
  if jax.process_count() == 1:
    return build_mesh(config)
  return make_mesh((-1, 1, 1), jax.local_devices())
