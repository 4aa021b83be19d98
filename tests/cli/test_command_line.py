"""Output of main.py for wrong and for right command lines."""

import gc
import json
import os
import pathlib
import subprocess
import sys

import pytest

from get_jax.cli import main
from tests.helpers import ROOT, environment, run_main

DIGITS = "--config=configs/dit_digits.py"


def refused(*args):
  """Runs main.py, which must refuse; returns its one-line message."""
  done = run_main(*args)
  assert done.returncode == 2, done.stdout + done.stderr
  assert "Traceback" not in done.stderr
  lines = [line for line in done.stderr.splitlines() if line.strip()]
  assert len(lines) == 1, done.stderr
  assert lines[0].startswith("Failed: ")
  return lines[0]


def test_a_key_that_the_config_does_not_have(tmp_path):
  said = refused(DIGITS, f"--workdir={tmp_path}", "--config.batch_sise=2")
  assert "--config.batch_sise=2 sets a key that configs/dit_digits.py" in said
  assert "did you mean batch_size?" in said
  said = refused(DIGITS, f"--workdir={tmp_path}", "--config.model.dept=2")
  assert "model.dept is unknown; did you mean 'depth'?" in said
  said = refused(DIGITS, f"--workdir={tmp_path}", "--config.data.splitt=a")
  assert "data.splitt is unknown; expected none" in said


def test_a_setting_that_the_config_leaves_out(tmp_path):
  done = run_main(
    "--config=configs/uvit_s2_cifar10.py",
    "--mode=summary",
    f"--workdir={tmp_path}",
    "--config.model.hidden_size=64",
    "--config.model.num_heads=2",
    "--config.data.labels=False",
    "--config.optimizer.rectified=True",
  )
  assert done.returncode == 0, done.stderr
  config = json.loads((tmp_path / "config.json").read_text())
  assert config["model"]["hidden_size"] == 64
  assert config["optimizer"]["rectified"] is True
  assert config["data"]["labels"] is False


def test_solver_and_gradient_of_an_equilibrium(tmp_path):
  get = "--config=configs/get_tiny_cifar10.py"
  done = run_main(
    get,
    "--mode=summary",
    f"--workdir={tmp_path}",
    "--config.equilibrium.solver.name=anderson",
    "--config.equilibrium.solver.window=3",
    "--config.equilibrium.gradient.name=implicit",
  )
  assert done.returncode == 0, done.stderr
  config = json.loads((tmp_path / "config.json").read_text())
  solver = {"name": "anderson", "window": 3, "tolerance": 1e-3}
  assert config["equilibrium"] == {
    "solver": solver,
    "gradient": {"name": "implicit"},
  }
  summary = json.loads((tmp_path / "results/summary.json").read_text())
  assert summary["iterations"] == 6
  said = refused(get, "--mode=summary", "--config.equilibrium.solver.step=3")
  assert "equilibrium.solver has no setting 'step'" in said


def test_a_value_of_the_wrong_type(tmp_path):
  said = refused(DIGITS, f"--workdir={tmp_path}", "--config.batch_size=many")
  assert said.endswith("flag --config.batch_size=many; expected an integer")
  rate = "--config.optimizer.learning_rate=fast"
  said = refused(DIGITS, f"--workdir={tmp_path}", rate)
  assert said.endswith(f"flag {rate}; expected a number")


def test_a_config_that_does_not_exist():
  said = refused("--config=configs/dit_digit.py", "--workdir=x")
  assert "configs/dit_digit.py does not exist" in said
  assert "did you mean configs/dit_digits.py?" in said


def test_missing_flags():
  assert "--config is missing" in refused("--workdir=x")
  assert "--workdir is missing" in refused(DIGITS)
  assert "--mode=dance" in refused(DIGITS, "--workdir=x", "--mode=dance")


def test_a_batch_without_images(tmp_path):
  said = refused(DIGITS, f"--workdir={tmp_path}", "--config.batch_size=0")
  assert "batch_size is 0; expected an integer of at least 1" in said
  assert not list(tmp_path.iterdir())


def test_an_image_that_the_patch_does_not_divide(tmp_path):
  said = refused(DIGITS, f"--workdir={tmp_path}", "--config.model.patch_size=3")
  assert "patch" in said and "3" in said and "8" in said


def test_a_workdir_that_cannot_be_written(tmp_path):
  (tmp_path / "file").write_text("")
  said = refused(DIGITS, f"--workdir={tmp_path / 'file'}")
  assert "cannot be written" in said
  assert "Not a directory" in said or "File exists" in said


def test_sampling_what_was_not_trained(tmp_path):
  said = refused(DIGITS, f"--workdir={tmp_path}", "--mode=sample")
  assert "contains no checkpoints; expected a trained run" in said


def test_pairs_need_a_distillation(tmp_path):
  said = refused(DIGITS, f"--workdir={tmp_path}", "--mode=pairs")
  assert "--mode=pairs needs a config that distils" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_folder_of_somebody_else(tmp_path):
  tmp_path.chmod(0o500)
  said = refused(DIGITS, f"--workdir={tmp_path / 'run'}")
  assert "Permission denied" in said


def test_summary_of_dit_xl2(tmp_path):
  done = run_main(
    "--config=configs/dit_xl2.py", "--mode=summary", f"--workdir={tmp_path}"
  )
  assert done.returncode == 0, done.stderr
  assert "674,834,720" in done.stdout
  rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
  kernel = "blocks_27/mlp/fc2/kernel | (4608, 1152) | float32 | 5,308,416"
  assert f"| {kernel} |" in rows
  assert "Total: 675,129,632 -- 2,700,518,528 bytes" in rows
  assert "118.6 G" in done.stdout
  found = json.loads((tmp_path / "results" / "summary.json").read_text())
  assert found["params"] == 674_834_720
  assert found["params_position_table"] == 294_912
  assert found["macs"] == 118_621_421_568


def test_help_names_the_flags():
  done = run_main("--help")
  assert done.returncode == 0
  for flag in ("--config", "--workdir", "--mode"):
    assert flag in done.stdout


def test_a_student_is_checked_before_its_teacher_is_trained(tmp_path):
  job = ("--config=configs/get_digits.py", f"--workdir={tmp_path}")
  assert "patch_size=3" in refused(*job, "--config.model.patch_size=3")
  said = refused(*job, "--config.evaluation.extractor=digits")
  assert "unknown extractor 'digits'" in said
  assert not (tmp_path / "teacher").exists()


def test_a_workdir_of_an_unknown_scheme_is_refused():
  said = refused(DIGITS, "--workdir=hdfs://host/run")
  assert "hdfs://host/run cannot be opened; expected a path on disk" in said
  assert not pathlib.Path("hdfs:").exists()


def test_a_platform_without_devices(tmp_path, monkeypatch):
  command = [sys.executable, "main.py", f"{DIGITS}:smoke"]
  done = subprocess.run(
    [*command, f"--workdir={tmp_path}"],
    cwd=ROOT,
    env={**environment(), "JAX_PLATFORMS": "cuda"},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 2, done.stderr
  assert "JAX_PLATFORMS is 'cuda', which has no device here" in done.stderr
  assert "expected 'cpu'" in done.stderr and "Traceback" not in done.stderr


def test_garbage_is_collected_once_the_mode_is_imported():
  gc.disable()
  try:
    run = main._load("summary")
    assert callable(run) and gc.isenabled()
  finally:
    gc.enable()
    gc.unfreeze()
