"""Pairs of a teacher that is sampled adaptively."""

import json

from get_jax.builders.model import build_model
from get_jax.jobs.pairs import make_pairs
from get_jax.models.parameters import init_params
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.rng import named_key
from tests.helpers import tiny_job


def test_adaptive_sampler_has_no_number_of_evaluations(tmp_path):
  config = tiny_job(pairs__count=16)
  config.teacher.process = dict(name="vp")
  config.teacher.sampler = dict(name="dpm_solver_adaptive", rtol=1.0)
  params = init_params(build_model(config.teacher), named_key(0, "init"))
  with Checkpoints(tmp_path / "teacher" / "checkpoints") as checkpoints:
    checkpoints.save_params(params)
  make_pairs(config, tmp_path)
  results = json.loads((tmp_path / "results" / "pairs.json").read_text())
  assert results["count"] == 16
  assert results["evaluations"] is None
