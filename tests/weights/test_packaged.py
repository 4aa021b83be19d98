"""The digits networks of the package have the scores of the README."""

import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import get_digits
from get_jax import Pipeline, weights
from get_jax.errors import UsageError
from get_jax.modes import convert
from get_jax.training.checkpoints import load_params
from get_jax.weights.packaged import FOLDER
from tests.helpers import ROOT, environment

NAMES = ("get-digits", "dit-digits")
PROGRAM = """
import json, pathlib, sys
from get_jax import Pipeline
from get_jax.builders.evaluator import build_evaluator
from get_jax.builders.generator import build_generator
from get_jax.jobs.measure import measure

name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
pipe = Pipeline.load(name)
evaluator = build_evaluator(pipe.config)
generator = build_generator(pipe.config)
result = measure(evaluator, pipe.config, generator, pipe.params, folder, name)
print(json.dumps(dict(result.scores)))
"""


def test_the_files_are_small():
  files = sorted(path.name for path in FOLDER.iterdir())
  assert files == ["dit-digits.safetensors", "get-digits.safetensors"]
  assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8e6


@pytest.mark.parametrize("column", [0, 1], ids=NAMES)
def test_the_scores_of_the_readme(column, tmp_path):
  """Measures in a process that compiles as it does for users."""
  name = NAMES[column]
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM, name, str(tmp_path)],
    cwd=ROOT,
    env=environment(optimized=True),
    capture_output=True,
    text=True,
    check=True,
  )
  found = json.loads(done.stdout.splitlines()[-1])
  readme = (ROOT / "README.md").read_text("utf-8")
  for row, score in (
    ("Fréchet distance", "fid[digits-v1]"),
    ("class accuracy", "class_accuracy[digits-v1]"),
  ):
    cells = re.search(rf"\| {row}.*\| ([\d.]+) \| ([\d.]+) \|", readme)
    digits = cells[column + 1]
    places = len(digits.partition(".")[2])
    # The files round the parameters to float16.
    assert abs(found[score] - float(digits)) < 0.7 * 10**-places
    if score.startswith("fid"):
      assert weights.find(name).score.startswith(f"FID {digits} ")


def test_they_are_used_like_other_weights():
  assert weights.fetch("get-digits") == FOLDER / "get-digits.safetensors"
  params = weights.load("get-digits")
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {
    np.dtype("float32")
  }
  pipe = Pipeline.load("get-digits")
  images = pipe(class_labels=range(10), seed=3)
  assert images.shape == (10, 8, 8, 1)
  np.testing.assert_array_equal(pipe(class_labels=range(10), seed=3), images)
  assert repr(pipe).startswith("Pipeline('get-digits': GET with 1,013,584 ")


def test_they_are_imported_into_a_workdir(tmp_path):
  config = get_digits.get_config()
  with pytest.raises(
    UsageError, match="dit-digits does not fit the GET of the"
  ):
    convert.run(config, tmp_path / "run", checkpoint="dit-digits")
  convert.run(config, tmp_path / "run", checkpoint="get-digits")
  jax.tree.map(
    np.testing.assert_array_equal,
    load_params(tmp_path / "run"),
    weights.load("get-digits"),
  )


def test_unknown_names_list_the_near_ones():
  with pytest.raises(UsageError, match="did you mean 'get-digits'"):
    Pipeline.load("get-digit")
  with pytest.raises(UsageError, match="step is 3, but get-digits has no ste"):
    Pipeline.load("get-digits", step=3)
  with pytest.raises(UsageError, match="sd-vae is of the kind 'autoencoder'"):
    Pipeline.load("sd-vae")
