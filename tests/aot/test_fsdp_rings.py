"""The groups of all-gathers in programs compiled for pods are rings."""

import importlib.util
import itertools

import jax
import pytest

from get_jax.aot import hlo
from get_jax.aot.collectives import find_collectives
from get_jax.aot.lower import lower_step
from get_jax.aot.memory import compile_program
from get_jax.hardware.topology import find_topology
from tests.hardware.fake_tpu import ring_hops
from tests.helpers import tiny_config

pytestmark = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason='libtpu is not installed: pip install -e ".[tpu]"',
)


@pytest.mark.parametrize(
  ("topology", "slices", "box"),
  [
    ("v5e:8x8", 1, (8, 2, 1)),  # v5e-64
    ("v5p:4x4x4", 1, (4, 4, 1)),  # v5p-128 counts the two cores of a chip
    ("v5e:4x4", 2, (4, 4, 1)),
  ],
)
def test_parameters_are_gathered_along_rings(topology, slices, box):
  config = tiny_config(
    batch_size=64,
    model__hidden_size=256,
    model__scan=True,
    mesh__data=-1,
    mesh__fsdp=16,
  )
  step = lower_step(config, "train", find_topology(topology, slices).devices)
  program = hlo.parse(compile_program(step.lowered, {}).as_text())
  devices = list(step.mesh.devices.flat)
  gathers = [
    [[devices[i] for i in group] for group in each.groups]
    for each in find_collectives(program, step.mesh.size)
    if each.kind == "all-gather" and each.groups.shape[1] == 16
  ]
  assert gathers
  for group in itertools.chain(*gathers):
    extents = [len({device.coords[i] for device in group}) for i in range(3)]
    assert tuple(extents) == box
    assert max(ring_hops(topology, group)) == 1
  jax.clear_caches()
