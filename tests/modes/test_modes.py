"""Modes that need a trained run, called in this process."""

import json
import shutil
import signal

import jax
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.generation.image_sampler import ImageSampler
from get_jax.modes import convert, curve, evaluate, pairs, sample, train
from get_jax.training.checkpoints import load_params, saved_steps
from get_jax.training.preemption import Stopped, handle_stop_signals
from tests.helpers import tiny_config, tiny_job


@pytest.fixture(scope="module")
def config():
  return tiny_config(num_steps=4, checkpoint_every=2, keep_checkpoints=3)


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("trained")
  train.run(config, workdir)
  return workdir


def read(path):
  return json.loads(path.read_text("utf-8"))


def samples(workdir):
  with np.load(workdir / "samples" / "samples.npz") as file:
    return {name: file[name] for name in file.files}


def test_export_and_import_are_exact(config, trained, tmp_path):
  sample.run(config, trained)
  file = tmp_path / "ema.safetensors"
  convert.run(config, trained, export=str(file))
  workdir = tmp_path / "imported"
  convert.run(config, workdir, checkpoint=str(file))
  jax.tree.map(
    np.testing.assert_array_equal, load_params(workdir), load_params(trained)
  )
  sample.run(config, workdir)
  for name, array in samples(trained).items():
    np.testing.assert_array_equal(samples(workdir)[name], array)


def test_fine_tuning_starts_from_what_was_imported(config, trained, tmp_path):
  file = tmp_path / "ema.safetensors"
  convert.run(config, trained, export=str(file))
  convert.run(config, tmp_path, checkpoint=str(file))
  still = config.copy_and_resolve_references()
  still.optimizer.learning_rate = 0.0
  (tmp_path / "config.json").unlink()
  train.run(still, tmp_path)
  assert saved_steps(tmp_path)[-1] == 4
  # The average of equal parameters is rounded in every step.
  jax.tree.map(
    np.testing.assert_array_equal,
    load_params(tmp_path, "params"),
    load_params(trained),
  )


def test_worker_processes_train_the_same(config, trained, tmp_path):
  config = config.copy_and_resolve_references()
  config.loader.workers = 2
  train.run(config, tmp_path)
  jax.tree.map(
    np.testing.assert_array_equal, load_params(tmp_path), load_params(trained)
  )


def test_import_into_a_used_folder_is_refused(config, trained, tmp_path):
  file = tmp_path / "ema.safetensors"
  convert.run(config, trained, export=str(file))
  with pytest.raises(ValueError, match="already has checkpoints"):
    convert.run(config, trained, checkpoint=str(file))
  with pytest.raises(ValueError, match="needs either --checkpoint"):
    convert.run(config, trained)


def test_quality_against_training_step_and_sampler_steps(config, trained):
  curve.run(config, trained)
  found = read(trained / "results" / "curve.json")
  assert [step for step, _ in found["points"]] == [2, 4]
  assert (trained / "samples" / "curve_step.png").is_file()
  over = config.copy_and_resolve_references()
  over.curve.update(over="sampler.num_steps", at=(2, 3))
  curve.run(over, trained)
  found = read(trained / "results" / "curve.json")
  fids = [scores["fid[digits-v1]"] for _, scores in found["points"]]
  assert len(set(fids)) == 2
  over.curve.over = "sampler.num_step"
  with pytest.raises(ValueError, match=r"curve\.over is 'sampler.num_step'"):
    curve.run(over, trained)
  # A key that the config leaves out.
  over.curve.update(over="sampler.rho", at=(7.0,))
  curve.run(over, trained)
  assert read(trained / "results" / "curve.json")["over"] == "sampler.rho"


def test_quality_of_a_folder_without_a_run(config, tmp_path):
  with pytest.raises(UsageError, match="contains no checkpoints; expected a"):
    curve.run(config, tmp_path)


def test_images_made_elsewhere(config, trained, capsys):
  sample.run(config, trained)
  outside = config.copy_and_resolve_references()
  outside.evaluation.samples = str(trained / "samples" / "samples.npz")
  evaluate.run(outside, trained)
  found = read(trained / "results" / "evaluate.json")
  assert "16 images of" in found["protocol"]["samples"]
  output = capsys.readouterr().out
  assert "fid[digits-v1]" in output
  results = trained / "results"
  assert output.replace("\n", " ").endswith(
    f"Finished: scores in {results}/evaluate.json; report page "
    f"{results}/index.html "
  )
  page = (results / "index.html").read_text("utf-8")
  assert f'title="{found["scores"]["fid[digits-v1]"]}"' in page
  assert "samples/samples.png" in page


def test_scoring_takes_over_kept_features(config, trained):
  evaluate.run(config, trained)
  first = read(trained / "results" / "evaluate.json")
  kept = {p: p.stat().st_mtime_ns for p in trained.rglob("features/*/*.npz")}
  assert len(kept) >= 4
  evaluate.run(config, trained)
  assert read(trained / "results" / "evaluate.json") == first
  for path, modified in kept.items():
    assert path.stat().st_mtime_ns == modified
  assert first["protocol"]["seed"] == 1
  assert first["protocol"]["evaluations"] == 5
  assert first["protocol"]["reference_count"] == 1797


@pytest.mark.parametrize("mode", ("sample", "evaluate", "curve", "pairs"))
def test_a_signal_stops_where_nothing_is_lost(
  config, trained, tmp_path, monkeypatch, mode
):
  run = {"sample": sample, "evaluate": evaluate, "curve": curve}.get(
    mode, pairs
  )
  workdir = tmp_path / "run"
  if mode == "pairs":
    here = tiny_job(pairs__teacher_workdir=str(trained), pairs__count=64)
  else:
    here = config.copy_and_resolve_references()
    here.sampling.count = 64
    shutil.copytree(trained / "checkpoints", workdir / "checkpoints")
  made, batch = [], ImageSampler.sample_batch

  def interrupted(self, params, indices, *given):
    made.append((len(made) // 4 if mode == "curve" else 0, *indices))
    if len(made) == 2:
      signal.raise_signal(signal.SIGTERM)
    return batch(self, params, indices, *given)

  monkeypatch.setattr(ImageSampler, "sample_batch", interrupted)
  with (
    handle_stop_signals(),
    pytest.raises(Stopped, match=r" after 32 of"),
  ):
    run.run(here, workdir)
  assert len(made) == 2
  run.run(here, workdir)
  assert len(made) == len(set(made)) == (8 if mode == "curve" else 4)
  assert (workdir / "results" / f"{mode}.json").is_file()
