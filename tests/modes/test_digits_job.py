"""The job of the README's first command, with tiny settings."""

import json
import signal
import time

import numpy as np
import pytest
from PIL import Image

from get_jax.errors import UsageError
from get_jax.modes import pairs
from get_jax.training.workdir import locked
from tests.helpers import (
  TINY_JOB,
  arguments_of,
  run_main,
  start_main,
  tiny_job,
)


def command(workdir, **overrides):
  return arguments_of("configs/get_digits.py", workdir, TINY_JOB, **overrides)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
  """A run that is killed while pairs are generated, then resumed."""
  workdir = tmp_path_factory.mktemp("job")
  process = start_main(*command(workdir))
  while not list(workdir.glob("pairs/0000[0-9].json")):
    assert process.poll() is None
    time.sleep(0.005)
  process.send_signal(signal.SIGKILL)
  process.wait()
  before = {
    path: path.stat().st_mtime_ns for path in workdir.glob("pairs/*.json")
  }
  done = run_main(*command(workdir))
  assert done.returncode == 0, done.stderr
  return workdir, before


def test_finished_shards_are_kept(interrupted):
  workdir, before = interrupted
  assert before
  for path, modified in before.items():
    assert path.stat().st_mtime_ns == modified
  assert len(list(workdir.glob("pairs/0*.json"))) == 6


def test_killed_pairs_equal_those_of_a_run_without_kill(interrupted, tmp_path):
  workdir, _ = interrupted
  whole = {
    "pairs.teacher_workdir": workdir / "teacher",
    "pairs.shard_size": 96,
  }
  done = run_main(
    *arguments_of("configs/get_digits.py", tmp_path, {**TINY_JOB, **whole}),
    "--mode=pairs",
  )
  assert done.returncode == 0, done.stderr
  for name in ("image", "label"):
    pieces = sorted(workdir.glob(f"pairs/*.{name}.npy"))
    joined = np.concatenate([np.load(piece) for piece in pieces])
    alone = np.load(tmp_path / "pairs" / f"00000.{name}.npy")
    np.testing.assert_array_equal(joined, alone)


def test_a_second_generator_is_refused(interrupted):
  workdir, _ = interrupted
  taken = "another process uses .*; expected one run per workdir"
  with locked(workdir), pytest.raises(UsageError, match=taken):
    pairs.run(tiny_job(), workdir)


def test_the_report(interrupted):
  workdir, _ = interrupted
  for name in ("comparison", "get", "teacher", "real", "loss", "iterations"):
    with Image.open(workdir / "samples" / f"{name}.png") as picture:
      assert min(picture.size) > 100
  report = json.loads((workdir / "results" / "report.json").read_text())
  assert report["GET"]["protocol"]["evaluations"] == 1
  assert report["teacher"]["protocol"]["evaluations"] == 7
  assert report["GET"]["protocol"]["samples"] == 100
  assert set(report["iterations"]) == {"1", "2"}
  assert report["GET"]["scores"]["fid[digits-v1]"] > 0
  assert 0 <= report["teacher"]["scores"]["class_accuracy[digits-v1]"] <= 1


def test_a_second_run_repeats_nothing(interrupted):
  workdir, _ = interrupted
  files = [p for p in workdir.rglob("*") if p.is_file()]
  kept = [p for p in files if p.suffix in (".npy", ".png", ".jsonl")]
  before = {path: path.stat().st_mtime_ns for path in kept}
  done = run_main(*command(workdir))
  assert done.returncode == 0, done.stderr
  assert done.stdout.count("already in") == 4
  assert "fid[digits-v1]" in done.stdout
  page = workdir / "results" / "index.html"
  last = done.stdout.splitlines()[-1]
  assert last == f"Finished: 8 steps in {workdir}; report page {page}"
  report = json.loads((workdir / "results" / "report.json").read_text())
  for name in ("GET", "teacher"):
    fid = report[name]["scores"]["fid[digits-v1]"]
    assert f'title="{fid}"' in page.read_text("utf-8")
  assert before == {path: path.stat().st_mtime_ns for path in before}
