"""A kill while an old checkpoint is deleted leaves no part of it."""

import os
import shutil

import jax.numpy as jnp
import optax
import pytest

from get_jax.storage.paths import as_path
from get_jax.training import checkpoint_folders
from get_jax.training.checkpoints import Checkpoints, load_params, saved_steps
from get_jax.training.state import make_init_state
from tests.faults.replay import content_of


class Killed(BaseException):
  """The process ends here."""


def save(checkpoints, state, step):
  checkpoints.save(state.replace(step=jnp.int32(step)))


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
  """Checkpoints of which the outdated one is out of the way, and its files."""
  workdir = tmp_path_factory.mktemp("run")
  make = make_init_state(lambda _: {"w": jnp.ones(3)}, (), optax.sgd(0.1))
  state = make(None)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(checkpoint_folders, "remove_outdated", lambda _: None)
    with Checkpoints(workdir / "checkpoints", keep=1) as checkpoints:
      save(checkpoints, state, 1)
      checkpoints.wait()
      whole = content_of(workdir / "checkpoints/1")
      save(checkpoints, state, 2)
  return workdir, whole


def test_an_outdated_checkpoint_is_moved_as_a_whole(moved):
  workdir, whole = moved
  folder = workdir / "checkpoints"
  assert sorted(path.name for path in folder.iterdir()) == ["2", "outdated"]
  assert content_of(folder / "outdated/1") == whole
  assert saved_steps(workdir) == [2]


def test_kills_at_every_call_of_a_deletion(moved, tmp_path, monkeypatch):
  original, whole = moved
  calls = 0

  def counted(call):
    def count(*args, **kwargs):
      nonlocal calls
      calls += 1
      if calls == last:
        raise Killed
      return call(*args, **kwargs)

    return count

  last, left = 0, set()
  for name in ("unlink", "rmdir"):
    monkeypatch.setattr(os, name, counted(getattr(os, name)))
  while True:
    last, calls = last + 1, 0
    workdir = tmp_path / str(last)
    shutil.copytree(original, workdir)
    folder = as_path(workdir / "checkpoints")
    try:
      checkpoint_folders.remove_outdated(folder)
      break
    except Killed:
      pass
    calls = last  # no further kill
    assert saved_steps(workdir) == [2]
    left.add(len(content_of(workdir)))
    checkpoint_folders.remove_leftovers(folder)
    assert [path.name for path in folder.iterdir()] == ["2"]
  assert last > len(whole)  # its files, its folders and the one of both
  assert len(left) == last - 1
  assert load_params(workdir)["w"].tolist() == [1, 1, 1]


def test_a_reader_deletes_nothing(moved, tmp_path):
  shutil.copytree(moved[0], tmp_path, dirs_exist_ok=True)
  load_params(tmp_path)
  assert (tmp_path / "checkpoints/outdated/1").is_dir()


def test_the_next_save_deletes(moved, tmp_path):
  shutil.copytree(moved[0], tmp_path, dirs_exist_ok=True)
  make = make_init_state(lambda _: {"w": jnp.ones(3)}, (), optax.sgd(0.1))
  with Checkpoints(tmp_path / "checkpoints", keep=1) as checkpoints:
    save(checkpoints, make(None), 3)
    checkpoints.wait()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["3"]


def test_a_failed_save_may_still_write_while_it_is_removed(
  tmp_path, monkeypatch
):
  leftover = tmp_path / f"2{checkpoint_folders.TEMPORARY}"
  leftover.mkdir()
  rmdir, late = os.rmdir, iter(["params", "ema"])

  def rmdir_after_a_write(path, **options):
    name = next(late, None)
    if name:
      (leftover / name).touch()
    return rmdir(path, **options)

  monkeypatch.setattr(os, "rmdir", rmdir_after_a_write)
  checkpoint_folders.remove_leftovers(as_path(tmp_path))
  assert not leftover.exists()
