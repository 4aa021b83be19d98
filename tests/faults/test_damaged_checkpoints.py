"""A damaged checkpoint is one warning line, and the one before it is used.

Every file of a checkpoint is damaged in every way. Files that are not needed
may be damaged without a warning; parameters never differ from what was saved.
"""

import random
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.training.checkpoints import Checkpoints, load_params

PARAMS = {"a": jnp.arange(600.0), "b": {"c": jnp.ones((3, 4))}}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  """The folder of a run with two equal checkpoints."""
  workdir = tmp_path_factory.mktemp("run")
  with Checkpoints(workdir / "checkpoints") as checkpoints:
    checkpoints.save_params(PARAMS)
  shutil.copytree(workdir / "checkpoints/0", workdir / "checkpoints/1")
  return workdir


def flip(content, rng):
  position = rng.randrange(len(content))
  changed = bytes([content[position] ^ 1 << rng.randrange(8)])
  return content[:position] + changed + content[position + 1 :]


def truncate(content, rng):
  return content[: rng.randrange(len(content))]


def empty(content, rng):
  del content, rng
  return b""


def delete(content, rng):
  del content, rng


def scramble(content, rng):
  return rng.randbytes(len(content))


def damage(path, how, rng):
  content = how(path.read_bytes(), rng)
  path.unlink()
  if content is not None:
    path.write_bytes(content)


def warnings_of(caplog):
  return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("how", [flip, truncate, empty, delete, scramble])
def test_every_damaged_file(checkpoint, tmp_path, capfd, caplog, how):
  rng = random.Random(0)
  names = sorted(
    path.relative_to(checkpoint)
    for path in (checkpoint / "checkpoints/1").rglob("*")
    if path.is_file() and path.stat().st_size
  )
  assert len(names) >= 15
  skipped = 0
  for number, name in enumerate(names):
    workdir = tmp_path / str(number)
    shutil.copytree(checkpoint, workdir)
    damage(workdir / name, how, rng)
    caplog.clear()
    params = load_params(workdir)
    np.testing.assert_array_equal(params["a"], PARAMS["a"])
    np.testing.assert_array_equal(params["b"]["c"], PARAMS["b"]["c"])
    lines = warnings_of(caplog)
    assert len(lines) <= 1, (name, lines)
    if lines:
      skipped += 1
      assert lines[0].startswith("Skipping damaged checkpoint 1: "), name
      assert "\n" not in lines[0], name
      assert (workdir / "checkpoints/1.damaged").is_dir()
    assert "Traceback" not in capfd.readouterr().err, name
  assert skipped >= 4


def test_without_a_valid_checkpoint_nothing_is_used(checkpoint, tmp_path):
  shutil.copytree(checkpoint, tmp_path, dirs_exist_ok=True)
  for step in (0, 1):
    damage(tmp_path / f"checkpoints/{step}/ema/manifest.ocdbt", empty, random)
  with pytest.raises(UsageError, match="all checkpoints in .* are damaged"):
    load_params(tmp_path)


@pytest.mark.parametrize(
  "content", ['{"init_timestamp_nsecs": 1.5}', '{"metrics": ' + "9" * 5000]
)
def test_metadata_of_other_types(checkpoint, tmp_path, capfd, caplog, content):
  shutil.copytree(checkpoint, tmp_path, dirs_exist_ok=True)
  path = tmp_path / "checkpoints/1/_CHECKPOINT_METADATA"
  path.write_text(content)
  params = load_params(tmp_path)
  assert params["a"].tolist() == list(range(600))
  (line,) = warnings_of(caplog)
  expected = "Skipping damaged checkpoint 1: its metadata cannot be read ("
  assert line.startswith(expected)
  assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("position", [0, 8, 44, 61, -1])
def test_every_part_of_the_index(checkpoint, tmp_path, capfd, caplog, position):
  shutil.copytree(checkpoint, tmp_path, dirs_exist_ok=True)
  index = tmp_path / "checkpoints/1/ema/manifest.ocdbt"
  content = bytearray(index.read_bytes())
  content[position] ^= 4
  index.write_bytes(content)
  params = load_params(tmp_path)
  assert params["a"].tolist() == list(range(600))
  (line,) = warnings_of(caplog)
  assert line.startswith("Skipping damaged checkpoint 1: ")
  assert "Traceback" not in capfd.readouterr().err
