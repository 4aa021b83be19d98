"""What clu's work unit gets of a run."""

import json
import types

import clu.platform
import numpy as np

from get_jax.jobs.run_info import log_run_info
from get_jax.models import create_model
from get_jax.training.sharding import make_mesh
from tests.helpers import tiny_config


def test_the_work_unit_gets_workdir_and_status(tmp_path, monkeypatch):
  calls = []

  def record(name):
    return lambda *arguments: calls.append((name, *arguments))

  methods = ("set_task_status", "create_artifact")
  unit = types.SimpleNamespace(**{name: record(name) for name in methods})
  monkeypatch.setattr(clu.platform, "work_unit", lambda: unit)
  state = types.SimpleNamespace(params={"w": np.zeros((2, 3))})
  model = create_model("DiT-S/2")
  mesh = make_mesh((-1, 1, 1))
  log_run_info(tiny_config(), model, mesh, tmp_path, "teacher", state)
  directory = clu.platform.ArtifactType.DIRECTORY
  assert calls == [
    ("set_task_status", "teacher on process 0 of 1"),
    ("create_artifact", directory, str(tmp_path), "teacher"),
  ]
  found = json.loads((tmp_path / "results" / "train.json").read_text())
  assert found["parameters"] == 6
