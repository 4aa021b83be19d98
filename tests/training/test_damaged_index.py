"""A damaged index of a checkpoint's arrays is one warning line."""

import shutil

import jax.numpy as jnp
import pytest

from get_jax.training.checkpoints import Checkpoints, load_params


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  with Checkpoints(workdir / "checkpoints") as checkpoints:
    checkpoints.save_params({"a": jnp.arange(600.0), "b": jnp.ones((3, 4))})
  shutil.copytree(workdir / "checkpoints/0", workdir / "checkpoints/1")
  return workdir


@pytest.mark.parametrize("position", [0, 8, 44, 61, -1])
def test_a_flipped_bit_is_one_line(
  checkpoint, tmp_path, capfd, caplog, position
):
  shutil.copytree(checkpoint, tmp_path, dirs_exist_ok=True)
  index = tmp_path / "checkpoints/1/ema/manifest.ocdbt"
  content = bytearray(index.read_bytes())
  content[position] ^= 4
  index.write_bytes(content)
  params = load_params(tmp_path)
  assert params["a"].tolist() == list(range(600))
  (record,) = caplog.records
  assert record.getMessage().startswith("Skipping damaged checkpoint 1: ")
  assert "Traceback" not in capfd.readouterr().err
  assert (tmp_path / "checkpoints/1.damaged").is_dir()
