"""The report on a data set: printed once, and stored."""

import json

import ml_collections
import numpy as np
import pytest
from PIL import Image

from get_jax.data import create_source
from get_jax.errors import UsageError
from get_jax.jobs.data_info import describe, report_data
from get_jax.modes import latents


@pytest.fixture
def root(tmp_path):
  for name in ("cats/0.png", "cats/1.png", "dogs/0.png", ".x/0.png"):
    path = tmp_path / "x" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
  (tmp_path / "x" / "cats" / "readme.txt").write_text("no image")
  (tmp_path / "x" / "dogs" / "1.png").write_bytes(b"junk")
  return tmp_path / "x"


def source(root):
  settings = dict(path=root, image_size=8, skip_broken=True)
  return create_source("images", **settings)


def test_report(root, tmp_path, capsys):
  report_data(source(root), tmp_path, "train")
  (line,) = capsys.readouterr().out.splitlines()
  assert line.startswith(
    f"train: 3 images of 2 classes (cats 2, dogs 1) in {root}/; other files: "
    f"1 hidden, 1 .txt; left out 1 broken: dogs/1.png"
  )
  stored = json.loads((tmp_path / "results" / "data.json").read_text())
  assert stored == source(root).summary()
  assert stored["classes"] == {"cats": 2, "dogs": 1}
  reason = (
    f"{root}/dogs/1.png cannot be read as an image (its format is unknown)"
  )
  assert stored["broken"] == {"dogs/1.png": reason}


def test_a_long_list_of_classes_is_shortened():
  classes = {f"c{i:03d}": 7 + i for i in range(100)}
  info = dict(location="x", images=9, skipped={}, broken={}, classes=classes)
  text = describe(info)
  assert "of 100 classes (c000 7, " in text
  assert ", c009 16, ...) with 7 to 106 images in x" in text


def test_other_sources_are_not_reported(tmp_path, capsys):
  report_data(create_source("digits"), tmp_path, "train")
  assert capsys.readouterr().out == ""
  assert not list(tmp_path.iterdir())


def test_a_resumed_run_needs_the_same_images(root, tmp_path):
  report_data(source(root), tmp_path, "train")
  report_data(source(root), tmp_path, "train", resumed=True)
  (root / "cats" / "1.png").write_bytes(b"junk")
  with pytest.raises(
    UsageError, match=r"2 images of .* broken; expected the 1"
  ):
    report_data(source(root), tmp_path, "train", resumed=True)
  report_data(source(root), tmp_path, "train")


def test_the_mode_latents_writes_it(root, tmp_path, tiny_autoencoder, capsys):
  (root / "dogs" / "1.png").unlink()
  folder, _, _ = tiny_autoencoder(latent_channels=2)
  data = dict(name="images", path=str(root), image_size=8)
  section = dict(
    data=data, dtype="float32", flips=False, shard_size=4, batch_size=3
  )
  config = ml_collections.ConfigDict(
    dict(
      autoencoder=dict(name="", weights=str(folder), dtype="float32"),
      data=dict(name="latents", path=str(tmp_path / "latents")),
      latents=section,
    )
  )
  latents.run(config, str(tmp_path / "run"))
  assert "latents: 3 images of 2 classes (cats 2, " in capsys.readouterr().out
  stored = json.loads((tmp_path / "run" / "results" / "data.json").read_text())
  assert stored["classes"] == {"cats": 2, "dogs": 1}
