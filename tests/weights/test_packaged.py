"""The digits networks of the package have the scores of the README."""

import re

import jax
import numpy as np
import pytest

from get_jax import Pipeline, weights
from get_jax.builders.evaluator import build_evaluator
from get_jax.builders.generator import build_generator
from get_jax.errors import UsageError
from get_jax.jobs.measure import measure
from get_jax.weights.packaged import FOLDER
from tests.helpers import ROOT


def test_the_files_are_small():
  files = sorted(path.name for path in FOLDER.iterdir())
  assert files == ["dit-digits.safetensors", "get-digits.safetensors"]
  assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8e6


@pytest.mark.parametrize(
  ("name", "column"), [("get-digits", 0), ("dit-digits", 1)]
)
def test_the_scores_of_the_readme(name, column, tmp_path):
  pipe = Pipeline.load(name)
  # A multiple of the tests' devices; the samples do not depend on it.
  pipe.config.sampling.batch_size = 1_000
  evaluator = build_evaluator(pipe.config)
  result = measure(
    evaluator,
    pipe.config,
    build_generator(pipe.config),
    pipe.params,
    tmp_path,
    name,
  )
  scores = result.to_json()["scores"]
  readme = (ROOT / "README.md").read_text("utf-8")
  for row, score in (
    ("Fréchet distance", "fid"),
    ("class accuracy", "class_accuracy"),
  ):
    cells = re.search(rf"\| {row}.*\| ([\d.]+) \| ([\d.]+) \|", readme)
    digits = cells[column + 1]
    places = len(digits.partition(".")[2])
    # The file rounds the parameters to float16.
    assert abs(scores[score] - float(digits)) < 0.6 * 10**-places
    if score == "fid":
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


def test_unknown_names_list_the_near_ones():
  with pytest.raises(UsageError, match="did you mean 'get-digits'"):
    Pipeline.load("get-digit")
  with pytest.raises(UsageError, match="step is 3, but get-digits has no ste"):
    Pipeline.load("get-digits", step=3)
  with pytest.raises(UsageError, match="sd-vae is of the kind 'autoencoder'"):
    Pipeline.load("sd-vae")
