"""A run with a teacher: it is trained first, and the run starts from it."""

import json
import shutil

import jax
import numpy as np
import pytest

from configs.consistency_distillation_digits import get_config
from get_jax.builders.teacher import check_has_teacher, with_teachers
from get_jax.errors import UsageError
from get_jax.jobs.initial_params import check_init_from
from get_jax.jobs.run_status import read_status
from get_jax.modes import summary, train
from get_jax.storage.paths import as_path
from get_jax.training.checkpoints import load_params

pytestmark = pytest.mark.usefixtures("one_device")


def config_of(**changes):
  """A tiny consistency distillation; in keys "__" stands for a dot."""
  config = get_config()
  tiny = {
    "model.hidden_size": 32,
    "model.depth": 1,
    "batch_size": 16,
    "log_every": 2,
    "checkpoint_every": 2,
    "num_steps": 4,
  }
  tiny |= {f"teacher.{key}": value for key, value in tiny.items()}
  changes = {k.replace("__", "."): v for k, v in changes.items()}
  decay = {"consistency_distillation.decay": 0.9}
  config.consistency_distillation.decay = 0.0
  config.update_from_flattened_dict(tiny | decay | changes)
  return config


@pytest.fixture(scope="module")
def workdir(one_device, tmp_path_factory):
  """A finished run."""
  folder = tmp_path_factory.mktemp("distilled")
  train.run(config_of(), folder)
  return folder


def equal(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_the_run_starts_from_its_teacher(workdir):
  teacher = load_params(workdir / "teacher")
  targets = load_params(workdir, "targets")
  params = load_params(workdir, "params")
  equal(targets["teacher"], teacher)
  source = json.loads((workdir / "results" / "init.json").read_text())
  assert source["source"] == f"EMA of {workdir / 'teacher'}"
  # The average has moved between the teacher and the trained network.
  for average, first, last in zip(
    *map(jax.tree.leaves, (targets["target"], teacher, params)), strict=True
  ):
    gap, whole = (np.abs(x - first).max() for x in (average, last))
    assert gap <= 0.9 * whole + 2e-7
  assert [stage.name for stage in read_status(workdir).stages] == [
    "teacher",
    "train",
  ]


def test_a_resumed_run_is_the_same(workdir, tmp_path):
  """A run that stops after its first checkpoint, and goes on."""
  copy = tmp_path / "copy"
  shutil.copytree(workdir, copy)
  shutil.rmtree(copy / "checkpoints" / "4")
  train.run(config_of(), copy)
  for item in ("targets", "params", "ema"):
    equal(load_params(copy, item), load_params(workdir, item))


WRONG = {
  "no teacher": (
    lambda config: config.__delattr__("teacher"),
    "task='consistency_distillation' needs a teacher; expected init_from",
  ),
  "sigma_data": (
    lambda config: config.teacher.process.update(sigma_data=0.5),
    "config.teacher: the teacher has process.sigma_data=0.5; expected 0.75",
  ),
  "time_scale": (
    lambda config: config.process.update(time_scale=1.0),
    "the teacher has process.time_scale=10.0; expected 1.0",
  ),
  "process": (
    lambda config: setattr(config.teacher, "process", {"name": "edm_ve"}),
    "the teacher has process.name='edm_ve'; expected 'edm'",
  ),
  "task": (
    lambda config: config.teacher.update(task="easy_consistency"),
    "has task='easy_consistency'; task='consistency_distillation' needs",
  ),
  "depth": (
    lambda config: config.teacher.model.update(depth=2),
    "config.teacher: .*blocks",
  ),
  "classes": (
    lambda config: config.teacher.model.update(num_classes=5),
    "of the teacher would be changed .*needs a teacher with the same network",
  ),
  "heads": (
    lambda config: config.teacher.model.update(num_heads=4),
    "num_heads=4; expected 2",
  ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_teachers_are_one_sentence(name):
  change, sentence = WRONG[name]
  config = config_of()
  change(config)
  with pytest.raises(UsageError, match=sentence) as caught:
    check_has_teacher(config)
  assert "\n" not in str(caught.value)


def test_the_summary_counts_the_targets(tmp_path):
  summary.run(config_of(), tmp_path)
  figures = json.loads((tmp_path / "results" / "summary.json").read_text())
  entries = figures["params"] + figures["params_position_table"]
  # Parameters, average, two moments, teacher and target.
  assert figures["state_bytes"] == 4 * 6 * entries


def test_a_given_teacher(workdir, tmp_path):
  """`init_from` names one, which is not trained, and checked as well."""
  config = config_of(init_from=str(workdir / "teacher"))
  assert len([*with_teachers(config, as_path(tmp_path))]) == 1
  check_has_teacher(config)
  check_init_from(config, tmp_path)
  config.process.sigma_data = 0.5
  with pytest.raises(UsageError, match="process.sigma_data=0.75; expected 0.5"):
    check_init_from(config, tmp_path)
  config = config_of(init_from=str(workdir))
  with pytest.raises(UsageError, match="has task='consistency_distillation'"):
    check_init_from(config, tmp_path)


def test_teachers_of_teachers(tmp_path):
  """Each is trained in the folder of the network that it teaches."""
  config = config_of()
  outer = config_of()
  outer.teacher = config
  folders = [folder for _, folder in with_teachers(outer, as_path(tmp_path))]
  assert folders == [
    tmp_path,
    tmp_path / "teacher",
    tmp_path / "teacher" / "teacher",
  ]
