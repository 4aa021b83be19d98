"""The status and the report page of a run in a bucket."""

import io
import json
import os
import time

from PIL import Image

from get_jax.jobs import run_status
from get_jax.jobs.report_page import PAGE, write_page
from get_jax.modes import status
from get_jax.storage.paths import as_path, write_bytes, write_text
from get_jax.training.workdir import locked, open_workdir
from tests.helpers import tiny_config


def test_status_and_page_in_a_bucket(bucket, monkeypatch):
  workdir = as_path(f"{bucket}/run")
  config = tiny_config()
  open_workdir(workdir, config)
  lines = [
    {"step": step, "loss": 8 / step, "images_per_second": 32.0}
    for step in (10, 20)
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  write_text(workdir / "metrics.jsonl", text)
  write_text(workdir / "checkpoints" / "20" / "_CHECKPOINT_METADATA", "{}")
  file = io.BytesIO()
  Image.new("L", (4, 4)).save(file, "PNG")
  write_bytes(workdir / "samples" / "00000020.png", file.getvalue())
  with locked(workdir):
    write_page(workdir)

    def describe():
      found = run_status.read_status(f"{bucket}/run")
      return list(status.describe(found, time.time()))

    first, train, *_, results = describe()
    assert f"in use by process {os.getpid()} on {os.uname().nodename}" in first
    assert "20 of 40 steps (50%), 2 steps/s, 10 s left" in train
    assert results.split() == ["results", f"{bucket}/run/{PAGE}"]
    # A lease that is not renewed is that of a dead writer.
    monkeypatch.setattr(run_status, "DURATION", -3600.0)
    assert "not running" in describe()[0]
  page = (workdir / PAGE).read_text("utf-8")
  assert 'alt="run/samples/00000020.png"' in page
