"""Training and sampling under environment variables of JAX.

The result is that of a run without them. Variables that make JAX refuse
something, or that must not change the result, are set together: a run that
passes under all passes under each.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers import ROOT, environment
from tests.xla_flags import xla_flags

SETTINGS = {
  "64 bits, checks and devices": {
    "JAX_ENABLE_X64": "1",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_DEBUG_NANS": "1",
    "XLA_FLAGS": xla_flags(devices=4),
  },
  "no compilation": {"JAX_DISABLE_JIT": "1"},
}
# Trains and samples in one process. Without compilation, every operation is a
# program for its shapes, so that training and sampling have the same.
PROGRAM = """
import sys
from configs import dit_digits
from get_jax.modes import sample, train
config = dit_digits.get_config("smoke")
config.model.mlp_ratio = 1.0
config.num_steps = config.log_every = config.checkpoint_every = 2
config.sampler.num_steps = 2
config.batch_size = config.sampling.count = config.sampling.batch_size = 4
train.run(config, sys.argv[1])
sample.run(config, sys.argv[1])
"""


def losses_and_samples(workdir, **variables):
  """Runs the program; returns the loss and the samples that it wrote."""
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM, str(workdir)],
    cwd=ROOT,
    env={**environment(), **variables},
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  with np.load(workdir / "samples" / "samples.npz") as file:
    return json.loads(lines[-1])["loss"], file["arr_0"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
  return losses_and_samples(tmp_path_factory.mktemp("default"))


@pytest.mark.parametrize("name", SETTINGS)
def test_the_results_are_those_without_the_variables(expected, name, tmp_path):
  found = losses_and_samples(tmp_path, **SETTINGS[name])
  np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
  # Rounding may move a pixel by one level.
  np.testing.assert_allclose(
    found[1].astype(int), expected[1].astype(int), atol=1
  )
