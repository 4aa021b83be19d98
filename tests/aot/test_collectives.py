"""Collectives of programs compiled for eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from get_jax.aot import hlo
from get_jax.aot.collectives import (
  _parse_groups,
  find_collectives,
  totals_by_kind,
)

LAYERS, WIDTH, BATCH = 5, 64, 16


def mesh(*sizes):
  devices = np.array(jax.devices()[: np.prod(sizes)]).reshape(sizes)
  axes = ("data", "fsdp")[: len(sizes)]
  return Mesh(devices, axes, axis_types=(AxisType.Auto,) * len(sizes))


def compiled(fn, grid, *arguments):
  """Returns the HLO of fn compiled for (shape, partition spec) arguments."""
  shapes = [
    jax.ShapeDtypeStruct(
      shape, jnp.float32, sharding=NamedSharding(grid, PartitionSpec(*split))
    )
    for shape, split in arguments
  ]
  with jax.set_mesh(grid):
    return jax.jit(fn).lower(*shapes).compile().as_text()


def scanned_layers(params, x):
  def body(x, w):
    w = jax.lax.with_sharding_constraint(w, PartitionSpec())
    return jnp.tanh(x @ w), None

  return jax.lax.scan(body, x, params)[0]


def test_a_gather_in_a_scan_runs_once_a_layer():
  grid = mesh(8)
  text = compiled(
    scanned_layers,
    grid,
    ((LAYERS, WIDTH, WIDTH), (None, "data")),
    ((BATCH, WIDTH), ("data",)),
  )
  (one,) = find_collectives(hlo.parse(text), 8)
  assert one.kind == "all-gather"
  assert one.runs == LAYERS
  assert one.bytes == 4 * WIDTH * WIDTH
  assert one.groups.tolist() == [list(range(8))]
  assert totals_by_kind([one]) == {
    "all-gather": dict(count=1, runs=LAYERS, bytes=LAYERS * 4 * WIDTH**2)
  }


def test_groups_are_those_of_the_axis():
  grid = mesh(4, 2)
  for axis, groups in (
    ("fsdp", [[0, 1], [2, 3], [4, 5], [6, 7]]),
    ("data", [[0, 2, 4, 6], [1, 3, 5, 7]]),
  ):

    def total(x, axis=axis):
      return jax.shard_map(
        lambda x: jax.lax.psum(x, axis),
        mesh=grid,
        in_specs=PartitionSpec(axis),
        out_specs=PartitionSpec(),
      )(x)

    text = compiled(total, grid, ((8, WIDTH), (axis,)))
    (one,) = find_collectives(hlo.parse(text), 8)
    assert one.kind == "all-reduce"
    assert sorted(one.groups.tolist()) == groups
    assert one.bytes == 4 * 8 // len(groups[0]) * WIDTH


@pytest.mark.parametrize(
  ("kind", "fn", "result"),
  [
    (
      "reduce-scatter",
      lambda x: jax.lax.psum_scatter(x, "data", tiled=True),
      PartitionSpec("data"),
    ),
    (
      "all-to-all",
      lambda x: jax.lax.all_to_all(x, "data", 1, 0, tiled=True),
      PartitionSpec("data"),
    ),
    (
      "collective-permute",
      lambda x: jax.lax.ppermute(x, "data", [(i, i ^ 1) for i in range(8)]),
      PartitionSpec("data"),
    ),
  ],
)
def test_each_kind_with_its_bytes(kind, fn, result):
  grid = mesh(8)

  def program(x):
    return jax.shard_map(
      fn, mesh=grid, in_specs=PartitionSpec("data"), out_specs=result
    )(x)

  text = compiled(program, grid, ((64, WIDTH), ("data",)))
  (one,) = find_collectives(hlo.parse(text), 8)
  assert one.kind == kind
  assert one.bytes == 4 * 8 * WIDTH  # one device's part of the array
  if kind == "collective-permute":
    assert sorted(one.groups.tolist()) == [[i, i ^ 1] for i in range(8)]


def test_a_loop_of_unknown_trip_count_is_reported():
  def until_small(x):
    return jax.lax.while_loop(lambda x: jnp.sum(x) > 1.0, lambda x: x / 2, x)

  program = hlo.parse(compiled(until_small, mesh(1), ((4,), ())))
  assert program.unbounded_loops == 1


def test_loops_within_loops_multiply():
  def step(x, _):
    inner = jax.lax.fori_loop(0, 3, lambda _, x: jax.lax.psum(x, "data") / 8, x)
    return inner, None

  grid = mesh(8)

  def program(x):
    return jax.shard_map(
      lambda x: jax.lax.scan(step, x, length=7)[0],
      mesh=grid,
      in_specs=PartitionSpec("data"),
      out_specs=PartitionSpec("data"),
      check_vma=False,
    )(x)

  text = compiled(program, grid, ((8, WIDTH), ("data",)))
  (one,) = find_collectives(hlo.parse(text), 8)
  assert one.runs == 21


# HLO of libtpu: the trip count appears in the condition only, and a gather that
# overlaps with two fusions appears in both of them.
OF_TPU = """HloModule jit_step, is_scheduled=true, num_partitions=32

%region.1 (p: (s32[], bf16[28,8,64])) -> pred[] {
  %constant.9 = s32[]{:T(128)} constant(28)
  %p = (s32[]{:T(128)}, bf16[28,8,64]{2,1,0:T(8,128)(2,1)}) parameter(0)
  %gte.1 = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt.1 = pred[]{:T(512)} compare(%gte.1, %constant.9), direction=LT
}

%fused_computation.1 (param_0: bf16[4,64]) -> bf16[64,64] {
  %param_0 = bf16[4,64]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.1 = bf16[64,64]{1,0:T(8,128)(2,1)} all-gather(%param_0), \
channel_id=3, replica_groups=mesh['axis_0'=2,'axis_1'=16] {'axis_1'}, \
dimensions={0}, metadata={op_name="jit(step)/while/body/gather"}
}

%async_collective_fusion.2 (param_0.1: bf16[4,64]) -> bf16[64,64] {
  %param_0.1 = bf16[4,64]{1,0:T(8,128)(2,1)} parameter(0)
  ROOT %all-gather.2 = bf16[64,64]{1,0:T(8,128)(2,1)S(1)} \
all-gather(%param_0.1), channel_id=3, \
replica_groups=mesh['axis_0'=2,'axis_1'=16] {'axis_1'}, dimensions={0}
}

%body.1 (q: (s32[], bf16[28,8,64])) -> (s32[], bf16[28,8,64]) {
  %q = (s32[]{:T(128)}, bf16[28,8,64]{2,1,0:T(8,128)(2,1)}) parameter(0)
  %copy.1 = bf16[4,64]{1,0:T(8,128)(2,1)} custom-call(%q)
  %fusion.1 = bf16[64,64]{1,0:T(8,128)(2,1)} fusion(%copy.1), kind=kLoop, \
calls=%fused_computation.1
  %fusion.2 = bf16[64,64]{1,0:T(8,128)(2,1)} fusion(%copy.1), kind=kOutput, \
calls=%async_collective_fusion.2
  ROOT %tuple.1 = (s32[]{:T(128)}, bf16[28,8,64]{2,1,0}) tuple(%q)
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0:T(256)} parameter(0)
  %t = (s32[]{:T(128)}, bf16[28,8,64]{2,1,0:T(8,128)(2,1)}) tuple(%x)
  %while.1 = (s32[]{:T(128)}, bf16[28,8,64]{2,1,0:T(8,128)(2,1)}) while(%t), \
condition=%region.1, body=%body.1
  %collective-permute-start.1 = (bf16[2,8]{1,0}, bf16[2,8]{1,0}, \
u32[]{:S(2)}, /*index=3*/u32[]{:S(2)}) collective-permute-start(%x), \
channel_id=9, source_target_pairs={{0,1},{1,0}}
  %all-reduce.1 = (f32[8]{0:T(256)}, bf16[3,5]{1,0}) all-reduce(%x, %x), \
channel_id=4, replica_groups=[2,16]<=[16,2]T(1,0), to_apply=%add
  ROOT %done = f32[8]{0:T(256)} copy(%x)
}
"""


def test_the_text_of_a_tpu():
  program = hlo.parse(OF_TPU)
  gather, reduce, permute = find_collectives(program, 32)
  assert program.unbounded_loops == 0
  assert (gather.kind, gather.runs, gather.bytes) == ("all-gather", 28, 8192)
  assert gather.op_name == "jit(step)/while/body/gather"
  assert gather.groups.tolist() == np.arange(32).reshape(2, 16).tolist()
  assert (reduce.kind, reduce.runs, reduce.bytes) == ("all-reduce", 1, 62)
  assert reduce.groups.tolist() == np.arange(32).reshape(16, 2).T.tolist()
  assert (permute.kind, permute.bytes) == ("collective-permute", 32)
  assert permute.groups.tolist() == [[0, 1], [1, 0]]


# One of two slices; collectives between slices go through the hosts.
OF_A_SLICE = """HloModule jit_step, is_scheduled=true, num_partitions=4

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0:T(256)} parameter(0)
  %all-gather.1 = f32[32]{0:T(256)} all-gather(%x), channel_id=1, \
replica_groups={{0,1,2,3}}, dimensions={0}, use_global_device_ids=true
  %after-all.1 = token[] after-all()
  %recv.1 = (f32[8]{0:T(256)}, u32[], token[]) recv(%after-all.1), \
channel_id=2, is_host_transfer=true, frontend_attributes=\
{_xla_host_transfer_rendezvous="all-reduce.7_0",\
_xla_megascale_transfer_type="ALL_REDUCE"}
  %send.1 = (f32[8]{0:T(256)}, u32[], token[]) send(%x, %after-all.1), \
channel_id=3, is_host_transfer=true, frontend_attributes=\
{_xla_host_transfer_rendezvous="all-reduce.7_0",\
_xla_megascale_transfer_type="ALL_REDUCE"}
  %send.2 = (f32[8]{0:T(256)}, u32[], token[]) send(%x, %after-all.1), \
channel_id=4, is_host_transfer=true, frontend_attributes=\
{_xla_megascale_transfer_type="ALL_GATHER"}
  ROOT %done = f32[8]{0:T(256)} copy(%x)
}
"""


# HLO for GPUs: an overlapped collective has a start and a done instruction, and
# the type of a start contains operands and results.
OF_GPU = """HloModule jit_step, is_scheduled=true, num_partitions=8

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  %all-gather-start = ((f32[2]{0}, bf16[3]{0}), (f32[16]{0}, bf16[24]{0})) \
all-gather-start(%x, %x), channel_id=1, replica_groups=[1,8]<=[8], \
dimensions={0}
  %all-gather-done = (f32[16]{0}, bf16[24]{0}) \
all-gather-done(%all-gather-start)
  %reduce-scatter-start = ((f32[64]{0}), f32[8]{0}) \
reduce-scatter-start(%x), channel_id=2, replica_groups={{0,1,2,3,4,5,6,7}}
  %reduce-scatter-done = f32[8]{0} reduce-scatter-done(%reduce-scatter-start)
  %all-reduce-start = (f32[5]{0}, f32[6]{0}) all-reduce-start(%x, %x), \
channel_id=3, replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
  ROOT %done = f32[8]{0} copy(%x)
}
"""


def test_the_text_of_a_gpu():
  assert totals_by_kind(find_collectives(hlo.parse(OF_GPU), 8)) == {
    "all-gather": dict(count=1, runs=1, bytes=4 * 16 + 2 * 24),
    "reduce-scatter": dict(count=1, runs=1, bytes=4 * 64),
    "all-reduce": dict(count=1, runs=1, bytes=4 * 11),
  }


def test_collectives_between_slices():
  found = find_collectives(hlo.parse(OF_A_SLICE), 8)
  assert totals_by_kind(found) == {
    "all-gather between slices": dict(count=1, runs=1, bytes=2 * 32),
    "all-gather": dict(count=1, runs=1, bytes=128),
    "all-reduce between slices": dict(count=1, runs=1, bytes=32),
  }
  for one in found:
    pairs = [[0, 4], [1, 5], [2, 6], [3, 7]]
    groups = pairs if one.between_slices else [[0, 1, 2, 3]]
    assert one.groups.tolist() == groups


def test_a_ring_sends_all_but_its_own_part():
  gather, reduce, permute = find_collectives(hlo.parse(OF_TPU), 32)
  assert gather.bytes_sent(16) == 8192 * 15 / 16
  assert reduce.bytes_sent(16) == 2 * 62 * 15 / 16
  assert permute.bytes_sent(2) == 32


def test_text_without_a_program_is_refused():
  with pytest.raises(ValueError, match="no ENTRY"):
    hlo.parse("HloModule nothing\n")


ROWS, COLUMNS = [[0, 1, 2], [3, 4, 5]], [[0, 3], [1, 4], [2, 5]]
NOTATIONS = {
  "{{0,3},{1,4},{2,5}}, x": COLUMNS,
  "[2,3]<=[6], x": ROWS,
  "[3,2]<=[2,3]T(1,0), x": COLUMNS,
  "mesh['a'=2,'b'=3] {'b'}, x": ROWS,
  "mesh['a'=2,'b'=3] {'a','b'}, x": [[0, 1, 2, 3, 4, 5]],
  "mesh['a'=3,'b'=2], device_ids=([2,3]T(1,0)) {'a'}, x": ROWS,
  "mesh['a'=1,'b'=3,'c'=2], device_ids=([2,3]T(1,0)) {'c'}, x": COLUMNS,
  "{}, x": [[0, 1, 2, 3, 4, 5]],
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_notations_of_groups(notation):
  rest = f"channel_id=1, replica_groups={notation}"
  assert _parse_groups(rest, 6).tolist() == NOTATIONS[notation]


def test_an_unknown_notation_is_an_error():
  with pytest.raises(ValueError, match="groups: replica_groups=torus"):
    _parse_groups("channel_id=1, replica_groups=torus(2,3), x", 6)
