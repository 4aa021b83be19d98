"""The same run on one device and on meshes of eight devices."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from get_jax.builders.data import build_source
from get_jax.builders.model import build_model
from get_jax.builders.training_step import build_training_step
from get_jax.data import Pipeline
from get_jax.nn import sharding as nn_sharding
from get_jax.training import sharding
from get_jax.training.checkpoints import Checkpoints, load_params
from get_jax.training.loop import Schedule, fit
from get_jax.training.metrics import read_metrics
from get_jax.training.state import create_state
from tests.helpers import tiny_config

MESHES = ((8, 1, 1), (2, 4, 1), (2, 2, 2))


def mesh_of(sizes):
  return sharding.make_mesh(sizes, jax.devices()[: int(np.prod(sizes))])


@pytest.fixture(scope="module")
def parts():
  config = tiny_config(log_every=1, model__hidden_size=64)
  pipeline = Pipeline(build_source(config), config.batch_size, config.seed)
  model = build_model(config)
  training_step = build_training_step(config, model)

  def fresh(mesh):
    return create_state(training_step.init_state, training_step.init_key, mesh)

  return fresh, training_step.step, pipeline


def train(parts, workdir, mesh, num_steps):
  fresh, step, pipeline = parts
  schedule = Schedule(num_steps, log_every=1, checkpoint_every=0)
  state = fit(workdir, fresh(mesh), step, pipeline, mesh, schedule)
  return state, np.array([r["loss"] for r in read_metrics(workdir)])


@pytest.fixture(scope="module")
def alone(parts, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("alone")
  _, losses = train(parts, workdir, mesh_of((1, 1, 1)), 5)
  return workdir, losses


@pytest.mark.parametrize("sizes", MESHES, ids=str)
def test_losses_agree_with_one_device(parts, alone, tmp_path, sizes):
  state, losses = train(parts, tmp_path, mesh_of(sizes), 5)
  np.testing.assert_allclose(losses, alone[1], rtol=1e-5)
  _, fsdp, tensor = sizes
  params = state.params["blocks_0"]
  shapes = {
    name: params[module][name]["kernel"].addressable_shards[0].data.shape
    for module, name in (("attn", "qkv"), ("mlp", "fc2"))
  }
  assert shapes["qkv"][0] * shapes["qkv"][1] == 64 * 192 // (fsdp * tensor)
  assert shapes["qkv"][1] == 192 // (tensor if tensor > 1 else fsdp)
  assert shapes["fc2"][0] * shapes["fc2"][1] == 256 * 64 // (fsdp * tensor)
  # Arrays that only the update uses are sharded over all devices.
  for copy in (state.ema, state.opt_state[0].mu, state.opt_state[0].nu):
    kernel = copy["blocks_0"]["attn"]["qkv"]["kernel"]
    assert kernel.addressable_shards[0].data.size == 64 * 192 // 8


def test_two_slices_train_as_one_device(parts, alone, tmp_path):
  """Each slice has a copy of the state, sharded over its four devices."""
  mesh = sharding.make_mesh((2, 2, 1), num_slices=2)
  assert dict(mesh.shape) == dict(replica=2, data=2, fsdp=2, tensor=1)
  state, losses = train(parts, tmp_path, mesh, 5)
  np.testing.assert_allclose(losses, alone[1], rtol=1e-6)
  for copy in (state.ema, state.opt_state[0].mu, state.opt_state[0].nu):
    kernel = copy["blocks_0"]["attn"]["qkv"]["kernel"]
    shards = {
      shard.device: np.asarray(shard.data)
      for shard in kernel.addressable_shards
    }
    assert {shard.size for shard in shards.values()} == {64 * 192 // 4}
    for one, other in zip(*mesh.devices.reshape(2, 4), strict=True):
      np.testing.assert_array_equal(shards[one], shards[other])


def test_checkpoints_move_between_meshes(parts, alone, tmp_path):
  """8 devices -> 1 -> 8, five steps in total; same losses as one device."""
  train(parts, tmp_path, mesh_of((2, 2, 2)), 2)
  train(parts, tmp_path, mesh_of((1, 1, 1)), 4)
  _, losses = train(parts, tmp_path, mesh_of((2, 2, 2)), 5)
  np.testing.assert_allclose(losses, alone[1], rtol=1e-5)
  for array, other in zip(
    jax.tree.leaves(load_params(tmp_path)),
    jax.tree.leaves(load_params(alone[0])),
    strict=True,
  ):
    assert array.dtype == np.float32
    assert array.shape == other.shape


def test_a_flipped_bit_is_detected_and_the_last_valid_checkpoint_restored(
  parts, tmp_path
):
  fresh, _, _ = parts
  state = fresh(mesh_of((1, 1, 1)))
  directory = tmp_path / "checkpoints"
  with Checkpoints(directory) as checkpoints:
    checkpoints.save(state)
    checkpoints.save(state.replace(step=state.step + 3))
  files = (directory / "3" / "params").rglob("d/*")
  largest = max(files, key=lambda path: path.stat().st_size)
  content = bytearray(largest.read_bytes())
  content[len(content) // 2] ^= 8
  largest.write_bytes(content)
  with Checkpoints(directory) as checkpoints:
    assert int(checkpoints.restore(state).step) == 0
    assert checkpoints.latest_step == 0
  assert (directory / "3.damaged").is_dir()


def test_an_indivisible_array_is_listed_in_the_log(caplog):
  params = {
    f"blocks_{i}": {"qkv": {"kernel": np.zeros((63, 129))}} for i in range(3)
  }
  state = {"params": params, "ema": params, "opt_state": [{"mu": params}]}
  placed = sharding.state_sharding(state, mesh_of((2, 2, 2)))
  assert {p.spec for p in jax.tree.leaves(placed)} == {
    PartitionSpec(None, None)
  }
  for axis, field in (
    ("tensor", "params"),
    ("fsdp", "params"),
    ("data", "ema"),
  ):
    (line,) = (m for m in caplog.messages if m.startswith(f"{axis}=2 "))
    assert f"{field}/blocks_*/qkv/kernel (63, 129) (x3)" in line


def test_axes_shard_the_largest_remaining_dimension():
  sizes = dict(data=2, fsdp=4, tensor=2)

  def split(*args):
    spec, indivisible = nn_sharding.partition_spec(*args)
    assert not indivisible
    return tuple(spec)

  both = ("fsdp", "data")
  assert split("a/qkv/kernel", (64, 192), sizes) == ("fsdp", "tensor")
  assert split("a/qkv/kernel", (64, 192), sizes, ()) == (None, "tensor")
  assert split("a/adaln/kernel", (64, 192), sizes) == (None, "fsdp")
  assert split("a/adaln/kernel", (64, 192), sizes, both) == ("data", "fsdp")
  assert split("a/fc1/bias", (8192,), sizes, both) == (
    ("tensor", "fsdp", "data"),
  )
  assert split("a/fc1/bias", (8,), sizes, both) == ()


def test_invalid_meshes_are_rejected():
  with pytest.raises(ValueError, match="does not fit 8 devices"):
    sharding.make_mesh((3, 1, 1))
  assert sharding.make_mesh((-1, 2, 2)).shape["data"] == 2
  mesh = sharding.make_mesh((2, 4, 1))
  with pytest.raises(ValueError, match="batch_size is 12; expected .* of 8"):
    sharding.check_batch_size(12, mesh)
  with pytest.raises(ValueError, match="fit 4 devices of each slice"):
    sharding.make_mesh((8, 1, 1), num_slices=2)
  mesh = sharding.make_mesh((-1, 1, 2), num_slices=2)
  with pytest.raises(
    ValueError, match=r"of 4, .*\(replica=2 x data=2 x fsdp=1\)"
  ):
    sharding.check_batch_size(10, mesh)
