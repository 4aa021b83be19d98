"""A progressive distillation: all rounds are one run, which can be resumed."""

import shutil

import jax
import numpy as np
import pytest

from configs.progressive_distillation_digits import get_config
from get_jax.modes import train
from get_jax.training.checkpoints import load_params

pytestmark = pytest.mark.usefixtures("one_device")


def config_of():
  config = get_config()
  tiny = {
    "model.hidden_size": 32,
    "model.depth": 1,
    "batch_size": 8,
    "log_every": 10,
    "checkpoint_every": 1,
    "keep_checkpoints": 9,
    "num_steps": 7,
  }
  tiny |= {f"teacher.{key}": value for key, value in tiny.items()}
  tiny |= {"teacher.num_steps": 2, "optimizer.learning_rate": 1e-3}
  config.update_from_flattened_dict(tiny)
  # Rounds of 4, 2 and 1 steps: 0-1, 2-5 and 6-.
  config.progressive_distillation = dict(start_scales=4, steps_per_stage=2)
  return config


def equal(a, b):
  return all(
    np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def test_rounds_are_one_run(tmp_path):
  workdir = tmp_path / "run"
  train.run(config_of(), workdir)
  networks = {0: load_params(workdir / "teacher")}
  networks |= {k: load_params(workdir, "params", step=k) for k in range(1, 8)}
  for step, origin in {1: 0, 2: 2, 3: 2, 5: 2, 6: 6, 7: 6}.items():
    teacher = load_params(workdir, "targets", step=step)["teacher"]
    assert equal(teacher, networks[origin]), step
  assert not any(equal(networks[k], networks[k + 1]) for k in range(7))
  # Goes on from the middle of the second round.
  copy = tmp_path / "copy"
  shutil.copytree(workdir, copy)
  for step in (4, 5, 6, 7):
    shutil.rmtree(copy / "checkpoints" / str(step))
  train.run(config_of(), copy)
  for item in ("targets", "params"):
    assert equal(load_params(copy, item), load_params(workdir, item))
