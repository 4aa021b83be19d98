"""--mode=status: what it shows of runs in every state."""

import json
import math
import os
import sys

import numpy as np
import pytest
from PIL import Image

from get_jax.errors import UsageError
from get_jax.evaluation import FeatureShards
from get_jax.evaluation.extractors.classifier import ExtractorOutput
from get_jax.jobs.durations import format_seconds
from get_jax.jobs.run_status import read_status
from get_jax.modes import status
from get_jax.storage.shards import Layout, ShardWriter
from get_jax.training.workdir import locked, open_workdir
from tests.helpers import run_main, tiny_config, tiny_job

NOW = 1_000_000.0


def write_training(workdir, steps, saved, batch_size=16):
  """Writes the files of a training that makes two steps a second."""
  lines = [
    {
      "step": step,
      "loss": 8.0 / step,
      "images_per_second": 2.0 * batch_size,
    }
    for step in steps
  ]
  path = workdir / "metrics.jsonl"
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))
  os.utime(path, (NOW - 5, NOW - 5))
  for step in saved:
    (workdir / "checkpoints" / str(step)).mkdir(parents=True)
    (workdir / "checkpoints" / str(step) / "_CHECKPOINT_METADATA").touch()


def write_picture(path, age):
  path.parent.mkdir(exist_ok=True)
  Image.new("L", (4, 4)).save(path)
  os.utime(path, (NOW - age, NOW - age))


def lines_of(workdir):
  return list(status.describe(read_status(str(workdir)), NOW))


@pytest.fixture
def workdir(tmp_path):
  """A training of 40 steps that is at step 20 and has saved step 10."""
  open_workdir(tmp_path, tiny_config())
  write_training(tmp_path, range(4, 21, 4), [10])
  for name, age in (("00000010", 60), ("00000020", 8)):
    write_picture(tmp_path / "samples" / f"{name}.png", age)
  return tmp_path


def test_a_running_training(workdir):
  with locked(workdir):
    first, train, losses, *rest = lines_of(workdir)
  assert first.startswith(f"{workdir}: DiT, denoising, in use by process ")
  assert f"process {os.getpid()} on {os.uname().nodename}" in first
  assert train.split(maxsplit=1) == [
    "train",
    "20 of 40 steps (50%), 2 steps/s, 10 s left, updated 5 s ago",
  ]
  assert losses.split() == ["loss", "█▄▂▁▁", "0.4"]
  assert [line.split(maxsplit=1) for line in rest] == [
    ["checkpoints", "10"],
    ["pictures", f"{workdir}/samples/00000020.png (8 s ago)"],
    [f"{workdir}/samples/00000010.png", "(1 min 0 s ago)"],
    ["results", "none"],
  ]


def test_an_interrupted_training(workdir):
  first, train, *_ = lines_of(workdir)
  assert first.endswith("not running; the command that started it resumes it")
  assert "20 of 40 steps (50%), interrupted; 10 are saved, updated" in train
  assert "left" not in train


def test_a_finished_training(workdir):
  write_training(workdir, range(4, 41, 4), [40])
  (workdir / "results").mkdir()
  (workdir / "results" / "index.html").touch()
  first, train, *rest = lines_of(workdir)
  assert first.endswith("finished")
  assert train.split(maxsplit=1) == ["train", "done, 40 steps"]
  assert rest[-1].split() == ["results", f"{workdir}/results/index.html"]


def test_a_step_that_is_logged_and_not_saved_is_not_the_end(workdir):
  write_training(workdir, range(4, 41, 4), [])
  first, train, *_ = lines_of(workdir)
  assert "not running" in first
  assert "40 of 40 steps (100%), interrupted; 10 are saved" in train


def test_a_distillation_whose_pairs_are_made(tmp_path):
  config = tiny_job()
  open_workdir(tmp_path, config)
  teacher = open_workdir(tmp_path / "teacher", config.teacher)
  write_training(teacher, [8], [8])
  layout = Layout("get_jax pairs 2", 96, 16, {"image": ("uint8", (2,))}, {})
  writer = ShardWriter(tmp_path / "pairs", layout)
  for shard in range(3):
    writer.write(shard, {"image": np.full((16, 2), shard, np.uint8)})
    path = tmp_path / "pairs" / f"{shard:05d}.json"
    os.utime(path, (NOW - 20 + 4 * shard,) * 2)
  with locked(tmp_path):
    stages = [line.split(maxsplit=1) for line in lines_of(tmp_path)[1:6]]
  assert stages == [
    ["teacher", "done, 8 steps"],
    ["loss", "▁ 1"],
    [
      "pairs",
      "48 of 96 pairs (50%), 4 pairs/s, 12 s left, updated 12 s ago",
    ],
    ["train", "not started, 8 steps"],
    ["report", "not started, 1 report"],
  ]


def test_samples_that_are_generated(workdir):
  write_training(workdir, [40], [40])
  layout = Layout("get_jax samples 1", 16, 8, {"image": ("uint8", ())}, {})
  writer = ShardWriter(workdir / "samples" / "parts-1", layout)
  writer.write(0, {"image": np.zeros(8, np.uint8)})
  samples = next(line for line in lines_of(workdir) if "samples  " in line)
  assert "8 of 16 images (50%)" in samples
  assert "in use by" in lines_of(workdir)[0]


def test_evaluations_that_are_running(workdir):
  """They disturb no training; only one computes the features of an image."""
  shards = FeatureShards(workdir / "features", {"seed": 1}, 16, 8)
  others = FeatureShards(workdir / "features", {"seed": 2}, 16, 8)
  shards.write(0, [ExtractorOutput(np.zeros((8, 2), np.float32))])
  before = lines_of(workdir)
  with shards.lock():
    *_, scores = [line for line in lines_of(workdir) if "scores" in line]
    assert scores.split(maxsplit=1) == [
      "scores",
      f"8 images have features, process {os.getpid()} on {os.uname().nodename}",
    ]
    first, train, *_ = lines_of(workdir)
    assert [first, train] == before[:2]
    with pytest.raises(UsageError, match="another process computes the feat"):
      shards.lock().acquire()
    with others.lock():
      assert sum("features" in line for line in lines_of(workdir)) == 2
  assert lines_of(workdir) == before


def test_latents_that_are_encoded(tmp_path):
  config = tiny_config()
  config.data = dict(name="latents", path=str(tmp_path / "latents"))
  config.latents = dict(batch_size=4)
  open_workdir(tmp_path / "run", config)
  layout = Layout("get_jax latents 1", 10, 4, {"moments": ("uint8", ())}, {})
  writer = ShardWriter(tmp_path / "latents", layout)
  for shard, count in enumerate((4, 4, 2)):
    writer.write(shard, {"moments": np.full(count, shard, np.uint8)})
  _, latents, *_ = lines_of(tmp_path / "run")
  assert latents.split(maxsplit=1) == ["latents", "done, 10 records"]


def test_folders_that_hold_no_run(tmp_path):
  with pytest.raises(UsageError, match="nothing does not exist; expected the"):
    read_status(str(tmp_path / "nothing"))
  with pytest.raises(UsageError, match=r"has no config\.json; expected"):
    read_status(str(tmp_path))
  (tmp_path / "config.json").write_text('{"model": {}}')
  with pytest.raises(UsageError, match=r"config\.json has no key task"):
    read_status(str(tmp_path))


NO_BACKEND = """
import runpy, sys, jax
jax.config.update("jax_platforms", "nothing")
sys.argv = ["main.py", "--mode=status", *sys.argv[1:]]
runpy.run_path("main.py", run_name="__main__")
"""


def test_no_config_no_backend_and_no_file(workdir, tmp_path_factory):
  script = tmp_path_factory.mktemp("script") / "main_without_backend.py"
  script.write_text(NO_BACKEND)

  def files():
    return {path: path.stat().st_mtime_ns for path in workdir.rglob("*")}

  before = files()
  done = run_main(sys.executable, str(script), f"--workdir={workdir}")
  assert done.returncode == 0, done.stderr
  assert "20 of 40 steps (50%), interrupted" in done.stdout
  assert files() == before


def test_sparklines():
  assert status.sparkline([1, 2, 3, 8]) == "▁▂▃█"
  assert status.sparkline([5.0, 5.0]) == "▁▁"
  assert status.sparkline([0.0, math.nan, 7.0, math.inf]) == "▁ █ "
  assert status.sparkline(range(100), width=8) == "▁▂▃▄▅▆▇█"
  assert status.sparkline([]) == ""


@pytest.mark.parametrize(
  ("seconds", "text"),
  [
    (0.4, "0 s"),
    (59.6, "1 min 0 s"),
    (3_725, "1 h 2 min"),
    (90_000, "1 d 1 h"),
  ],
)
def test_durations(seconds, text):
  assert format_seconds(seconds) == text
