"""Compares training losses from given weights with those of a fresh network.

    python main.py --config=configs/dit_digits.py --workdir=runs/dit_digits
    python -m experiments.digits_finetuning --workdir=runs/dit_digits

The weights are those of a denoiser of ten classes of 8x8 images. The first task
is to denoise four of the classes; the second, images of twice the size. Both
networks of a row see the same batches with the same noise.
"""

import json
import logging
import pathlib
import tempfile
from typing import Any

import ml_collections
import numpy as np
from absl import app, flags
from PIL import Image
from rich.console import Console
from rich.table import Table

from configs import dit_digits
from get_jax.data import create_source
from get_jax.modes import train

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "A run of configs/dit_digits.py.", required=True
)
_STEPS = flags.DEFINE_integer("steps", 50, "Training steps.", lower_bound=20)
CLASSES = (0, 1, 2, 3)
_FOUR = {"model.num_classes": 4}
_LARGE = {"model.image_size": 16}
_PATCHES = {**_LARGE, "model.patch_size": 8}
# Data, settings of the network, and settings of the initialisation.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
  "4 classes, named": ("four", _FOUR, {"init.classes": CLASSES}),
  "4 classes, others named": ("four", _FOUR, {"init.classes": (7, 5, 8, 9)}),
  "4 classes, fresh embeddings": ("four", _FOUR, {}),
  "16x16, more patches": ("large", _LARGE, {}),
  "16x16, larger patches": ("large", _PATCHES, {"init.resize_patches": True}),
}


def write_images(root: pathlib.Path) -> None:
  """Writes "four", digits of `CLASSES`, and "large", digits of twice the size.

  Args:
    root: Folder of the two folders.
  """
  source = create_source("digits")
  records = source.read(np.arange(len(source)))
  pixels = np.round((records["image"][..., 0] + 1) * 127.5).astype(np.uint8)
  labels = records["label"].tolist()
  for i, (image, label) in enumerate(zip(pixels, labels, strict=True)):
    picture = Image.fromarray(image)
    large = picture.resize((16, 16), Image.Resampling.BICUBIC)
    images = {f"large/{label}": large}
    if label in CLASSES:
      images[f"four/{label}"] = picture
    for folder, written in images.items():
      (root / folder).mkdir(parents=True, exist_ok=True)
      written.save(root / folder / f"{i}.png")


def training_losses(
  data: pathlib.Path, workdir: pathlib.Path, **settings: Any
) -> np.ndarray:
  """Trains and returns the loss of each step.

  Args:
    data: Folder of images by class.
    workdir: Folder of the run.
    **settings: Config keys with dots, and their values.
  """
  config: ml_collections.ConfigDict = dit_digits.get_config()
  config.update_from_flattened_dict(settings)
  config.data = dict(
    name="images",
    path=str(data),
    image_size=config.model.image_size,
    channels=1,
  )
  config.num_steps, config.log_every, config.checkpoint_every = (
    _STEPS.value,
    1,
    0,
  )
  train.run(config, str(workdir))
  lines = (workdir / "metrics.jsonl").read_text("utf-8").splitlines()
  return np.array([json.loads(line)["loss"] for line in lines])


def main(_):
  """Trains all cases and prints a table."""
  logging.getLogger().setLevel(logging.WARNING)
  last = f"{_STEPS.value - 9}-{_STEPS.value}"
  spans = {"1": slice(1), "1-10": slice(10), last: slice(-10, None)}
  table = Table("task", "weights", *(f"loss, steps {span}" for span in spans))
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    write_images(root / "data")
    fresh: dict[str, np.ndarray] = {}
    for name, (data, network, init) in CASES.items():
      runs = {"given": {**init, "init_from": _WORKDIR.value}}
      if str(network) not in fresh:
        runs = {"fresh": {}, **runs}
      for weights, settings in runs.items():
        losses = training_losses(
          root / "data" / data,
          root / f"{name} {weights}",
          **network,
          **settings,
        )
        fresh.setdefault(str(network), losses)
        table.add_row(
          name if weights == "given" else name.split(",")[0],
          weights,
          *(f"{losses[span].mean():.3f}" for span in spans.values()),
        )
  Console(width=100).print(table)


if __name__ == "__main__":
  app.run(main)
