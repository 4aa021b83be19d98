"""Builds the device meshes of a config."""

from collections.abc import Sequence

import jax
import ml_collections
from jax.sharding import Mesh

from get_jax.training.sharding import AXES, make_mesh

# The axis "replica" is a property of the devices, not of the config.
CONFIG_AXES = AXES[1:]


def build_mesh(
  config: ml_collections.ConfigDict,
  devices: Sequence[jax.Device] | None = None,
  num_slices: int | None = None,
) -> Mesh:
  """Builds the mesh of `config.mesh`.

  Args:
    config: the experiment.
    devices: devices of the mesh; None selects all devices.
    num_slices: see `make_mesh`.

  Raises:
    UsageError: see `make_mesh`.
  """
  sizes = [config.mesh[axis] for axis in CONFIG_AXES]
  return make_mesh(sizes, devices, num_slices)


def build_sampling_mesh(config: ml_collections.ConfigDict) -> Mesh:
  """Builds the mesh that samples are generated on.

  With several processes, every process uses its own devices: samples do not
  depend on one another, so no process has to wait for another.
  """
  if jax.process_count() == 1:
    return build_mesh(config)
  return make_mesh((-1, 1, 1), jax.local_devices())
