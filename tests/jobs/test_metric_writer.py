"""TensorBoard and Weights & Biases: what a training writes, read back."""

import importlib
import json
import struct
import time

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from get_jax.errors import UsageError
from get_jax.jobs.metric_writer import make_open_writer
from get_jax.training.metrics import read_metrics
from get_jax.training.wandb_writer import check_wandb
from tests.helpers import tiny_config

IMAGES = np.arange(192, dtype=np.uint8).reshape(1, 8, 8, 3)


def write(workdir, start_step, steps, **settings):
  """Writes the metrics of some steps as a training does."""
  config = tiny_config(batch_size=48, **settings)
  writer = make_open_writer(config, "train")(workdir, start_step)
  for step in steps:
    writer.write_scalars(step, {"loss": 1.0 / step})
  writer.write_images(steps[-1], {"samples": IMAGES})
  writer.flush()
  writer.close()


def tensorboard_events(workdir):
  """Returns the events of all files, in the order of TensorBoard."""
  events = []
  for path in sorted((workdir / "tensorboard").iterdir()):
    content = path.read_bytes()
    while content:
      (size,) = struct.unpack("<Q", content[:8])
      events.append(Event.FromString(content[12 : 12 + size]))
      content = content[16 + size :]
  return events


def values_by_tag(events):
  return {v.tag: (e.step, v) for e in events for v in e.summary.value}


def test_tensorboard_has_scalars_images_config_and_hyperparameters(tmp_path):
  write(tmp_path, 0, [4, 8])
  values = values_by_tag(tensorboard_events(tmp_path))
  assert values["loss"][0] == 8
  assert values["loss"][1].simple_value == 0.125
  step, samples = values["samples"]
  assert (step, samples.image.height, samples.image.width) == (8, 8, 8)
  text = values["config/text_summary"][1].tensor.string_val[0].decode()
  fenced = text.removeprefix("```json\n").removesuffix("\n```")
  assert json.loads(fenced)["model"]["name"] == "DiT"
  session, experiment = (
    HParamsPluginData.FromString(
      values[f"_hparams_/{name}"][1].metadata.plugin_data.content
    )
    for name in ("session_start_info", "experiment")
  )
  hparams = session.session_start_info.hparams
  assert hparams["batch_size"].number_value == 48
  assert hparams["model.name"].string_value == "DiT"
  assert hparams["mesh.data"].number_value == -1
  names = [info.name for info in experiment.experiment.hparam_infos]
  assert set(names) == set(hparams)
  metrics = [info.name.tag for info in experiment.experiment.metric_infos]
  assert metrics == ["loss"]


def test_tensorboard_leaves_out_what_a_resumed_run_repeats(tmp_path):
  write(tmp_path, 0, [4, 8, 12])
  write(tmp_path, 8, [12, 16])
  restart = [
    event.step
    for event in tensorboard_events(tmp_path)
    if event.session_log.status == event.session_log.START
  ]
  assert restart == [9]
  assert [line["step"] for line in read_metrics(tmp_path)] == [4, 8, 12, 16]


def wandb_records(folder):
  """Returns the records of a finished run, which is written by a process."""
  deadline = time.monotonic() + 60
  while time.monotonic() < deadline:
    records = list(written_wandb_records(folder))
    if records and records[-1].HasField("exit"):
      return records
    time.sleep(0.05)
  raise TimeoutError(f"{folder} has no record of the end")


def written_wandb_records(folder):
  """Yields the whole records of a run's file, in LevelDB's log format."""
  from wandb.proto.wandb_internal_pb2 import Record

  (path,) = folder.glob("run-*.wandb")
  content, parts = path.read_bytes(), b""
  position = 7  # after the header of the file
  while position + 7 <= len(content):
    left_in_block = -position % 32_768
    if 0 < left_in_block < 7:
      position += left_in_block
      continue
    _, size, kind = struct.unpack_from("<IHB", content, position)
    position += 7 + size
    if position > len(content):
      return
    parts += content[position - size : position]
    if kind in (1, 4):  # a whole record, or the last part of one
      yield Record.FromString(parts)
      parts = b""


def test_wandb_offline_and_resumed(tmp_path, monkeypatch):
  monkeypatch.setenv("WANDB_MODE", "offline")
  workdir = tmp_path / "a run"
  workdir.mkdir()
  write(workdir, 0, [4, 8], wandb="digits")
  # The package names its folders by the second.
  second = int(time.time())
  while int(time.time()) == second:
    time.sleep(0.05)
  write(workdir, 8, [12], wandb="digits")
  folders = sorted((workdir / "wandb").glob("offline-run-*"))
  (identifier,) = {folder.name.rpartition("-")[2] for folder in folders}
  assert json.loads((workdir / "wandb.json").read_text()) == {
    "target": "digits",
    "id": identifier,
  }
  records = [record for folder in folders for record in wandb_records(folder)]
  runs = [record.run for record in records if record.HasField("run")]
  assert {(r.run_id, r.project, r.display_name) for r in runs} == {
    (identifier, "digits", "a run")
  }
  history = [
    {item.key or item.nested_key[0]: json.loads(item.value_json) for item in h}
    for h in (record.history.item for record in records)
    if len(h)
  ]
  losses = {row["_step"]: row["loss"] for row in history if "loss" in row}
  assert losses == {4: 0.25, 8: 0.125, 12: pytest.approx(1 / 12)}
  config = {
    item.key or item.nested_key[0]: json.loads(item.value_json)
    for record in records
    for item in record.config.update
  }
  assert config["batch_size"] == 48
  assert config["model.name"] == "DiT"
  assert [*folders[0].rglob("samples_8_*.png")]


def test_wandb_is_checked_before_training(monkeypatch):
  check_wandb("")
  check_wandb("team/digits")
  for target in ("a/b/c", "/digits", "team/"):
    with pytest.raises(UsageError, match="expected a project of Weights"):
      check_wandb(target)
  find_spec = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    "find_spec",
    lambda name: None if name == "wandb" else find_spec(name),
  )
  with pytest.raises(UsageError, match=r"expected pip install get_jax\[wandb"):
    check_wandb("digits")
