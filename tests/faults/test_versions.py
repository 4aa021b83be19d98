"""Workdirs of each release are opened; those of a newer version are refused.

`tests.faults.make_workdir` stores the workdir of a release.
"""

import json
import shutil

import numpy as np
import pytest

from get_jax.builders.config_check import check_config
from get_jax.distillation.pairs import PairsSource
from get_jax.errors import UsageError
from get_jax.modes import train
from get_jax.training.checkpoints import load_params, params_digest, saved_steps
from get_jax.training.metrics import read_metrics
from get_jax.training.workdir import open_workdir, read_config
from tests.faults.make_workdir import WORKDIRS, config

RELEASES = sorted(path.name for path in WORKDIRS.iterdir())


@pytest.fixture(params=RELEASES)
def workdir(request, tmp_path):
  """A copy of a workdir that a release has made."""
  return shutil.copytree(WORKDIRS / request.param, tmp_path / "workdir")


def test_the_run_of_a_release_is_complete(workdir, capsys):
  expected = json.loads((workdir / "expected.json").read_text())
  assert saved_steps(workdir) == [2]
  assert params_digest(load_params(workdir)) == expected["params"]
  assert [line["step"] for line in read_metrics(workdir)] == [1, 2]
  check_config(read_config(workdir))
  train.run(config(), str(workdir))
  assert "2 steps are already in" in capsys.readouterr().out


def test_the_pairs_of_a_release_are_read(workdir):
  pairs = PairsSource(workdir / "pairs")
  images = pairs.read(np.arange(6))["image"]
  assert images.shape == (6, 8, 8, 1)
  assert np.isfinite(images).all()


def test_a_config_with_keys_of_a_newer_version_is_refused(workdir):
  path = workdir / "config.json"
  newer = json.loads(path.read_text())
  newer["model"]["new_field"] = 1
  path.write_text(json.dumps(newer))
  with pytest.raises(UsageError, match=r"model\.new_field \(1 there, None now"):
    open_workdir(workdir, config())
  with pytest.raises(UsageError, match=r"model\.new_field is unknown"):
    check_config(read_config(workdir))
  assert json.loads(path.read_text()) == newer


def test_pairs_of_a_newer_format_are_refused(workdir):
  path = workdir / "pairs" / "manifest.json"
  changes = {"format": "get_jax pairs 999", "new_field": 1}
  newer = json.loads(path.read_text()) | changes
  path.write_text(json.dumps(newer))
  with pytest.raises(
    UsageError, match="'get_jax pairs 999'; expected 'get_jax"
  ):
    PairsSource(workdir / "pairs")
