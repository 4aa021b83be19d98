"""Runs whose data were moved or changed."""

import json
import shutil
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from get_jax.data import create_source
from get_jax.data.content import describe_content
from get_jax.errors import UsageError
from get_jax.jobs.data_info import check_data
from get_jax.modes import train
from get_jax.training.checkpoints import load_params
from get_jax.training.workdir import open_workdir
from tests.helpers import tiny_config

COUNT = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Grey images of 8 pixels in ten class folders."""
  root = tmp_path_factory.mktemp("data") / "a"
  rng = np.random.RandomState(0)
  for i in range(COUNT):
    path = root / f"{i % 10}" / f"{i:02d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.randint(0, 256, (8, 8), np.uint8)).save(path)
  return root


def copy_of(folder, tmp_path):
  return shutil.copytree(folder, tmp_path / "copy")


def source(path):
  return create_source("images", path=str(path), image_size=8, channels=1)


def config(path, **overrides):
  settings = dict(num_steps=4, checkpoint_every=2, log_every=1)
  result = tiny_config(**{**settings, **overrides})
  result.data = dict(name="images", path=str(path), image_size=8, channels=1)
  return result


def leaves(workdir):
  return jax.tree.leaves(load_params(workdir))


def losses(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return {d["step"]: d["loss"] for d in map(json.loads, lines)}


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
  """A run of four steps, with checkpoints of the last two."""
  workdir = tmp_path_factory.mktemp("run") / "w"
  train.run(config(folder), str(workdir))
  return workdir


@pytest.fixture
def unfinished(run, tmp_path):
  """The run as it was after two steps."""
  workdir = shutil.copytree(run, tmp_path / "w")
  shutil.rmtree(workdir / "checkpoints" / "4")
  return workdir


def test_a_run_with_moved_data_is_resumed_bit_for_bit(
  run, unfinished, folder, tmp_path
):
  workdir = unfinished
  moved = copy_of(folder, tmp_path)
  train.run(config(moved), str(workdir))
  assert losses(workdir) == losses(run) and len(losses(run)) == 4
  for found, expected in zip(leaves(workdir), leaves(run), strict=True):
    np.testing.assert_array_equal(found, expected)
  stored = json.loads((workdir / "config.json").read_text())
  assert stored["data"]["path"] == str(moved)


def test_a_run_with_changed_data_is_refused(unfinished, folder, tmp_path):
  changed = copy_of(folder, tmp_path)
  (changed / "3" / "03.png").unlink()
  before = (unfinished / "data.json").read_bytes()
  with pytest.raises(
    UsageError, match=r"content \(.* now\), records \(40 there, 39 now\)"
  ):
    train.run(config(changed), str(unfinished))
  assert (unfinished / "data.json").read_bytes() == before


def test_other_settings_of_moved_data_are_refused(run, folder):
  other = config(folder)
  other.data.flip = True
  with pytest.raises(UsageError, match=r"differs in data\.flip \("):
    open_workdir(run, other)


def test_a_run_without_a_description_of_its_data(run, folder, tmp_path):
  workdir = shutil.copytree(run, tmp_path / "w")
  (workdir / "data.json").unlink()
  with pytest.raises(UsageError, match=r"differs in data\.path \("):
    open_workdir(workdir, config(copy_of(folder, tmp_path)))
  open_workdir(workdir, config(folder))
  check_data(source(folder), workdir)
  assert (workdir / "data.json").read_bytes() == (
    run / "data.json"
  ).read_bytes()


def test_data_of_a_teacher_are_compared_by_its_own_description(tmp_path):
  settings = config("before")
  settings.teacher = dict(data=dict(settings.data))
  open_workdir(tmp_path, settings)
  (tmp_path / "metrics.jsonl").write_text("")
  (tmp_path / "data.json").write_text("{}")
  settings.data.path = "after"
  open_workdir(tmp_path, settings)
  settings.teacher.data.path = "after"
  with pytest.raises(UsageError, match=r"differs in teacher\.data\.path \("):
    open_workdir(tmp_path, settings)
  (tmp_path / "teacher").mkdir()
  (tmp_path / "teacher" / "data.json").write_text("{}")
  open_workdir(tmp_path, settings)


def rename(root):
  (root / "0" / "10.png").rename(root / "0" / "11.png")


def relabel(root):
  (root / "0" / "10.png").rename(root / "1" / "10.png")


def edit(root):
  Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / "0" / "00.png")


@pytest.mark.parametrize("change", [rename, relabel, edit])
def test_changes_of_files_change_the_content(change, folder, tmp_path):
  root = copy_of(folder, tmp_path)
  before = describe_content(source(root))
  assert before == describe_content(source(folder))
  assert (before["records"], before["num_classes"]) == (COUNT, 10)
  change(root)
  after = describe_content(source(root))
  assert after["content"] != before["content"]


def test_a_zip_has_the_content_of_its_folder(folder, tmp_path):
  with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
    for path in sorted(folder.rglob("*.png"), reverse=True):
      archive.write(path, f"top/{path.relative_to(folder)}")
  zipped = describe_content(source(tmp_path / "a.zip"))
  assert zipped == describe_content(source(folder))


def test_a_damaged_description_is_reported(folder, tmp_path):
  (tmp_path / "data.json").write_text("{")
  with pytest.raises(UsageError, match=r"data\.json is not JSON"):
    check_data(source(folder), tmp_path)
