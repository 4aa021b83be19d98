"""Metric writer for Weights & Biases."""

import importlib.util
import json
import logging
import os
import re
import secrets
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from get_jax.errors import UsageError
from get_jax.storage.json_files import read_json_object
from get_jax.storage.paths import Path, is_remote, write_text

RUN_FILE = "wandb.json"
_ID = re.compile(r"[0-9a-zA-Z_-]{1,128}")
log = logging.getLogger(__name__)


def check_wandb(target: str) -> None:
  """Checks that metrics can be written to Weights & Biases.

  Args:
    target: the config key `wandb`; empty: nothing is checked.

  Raises:
    UsageError: the package is not installed, or the target is no project.
  """
  if not target:
    return
  if target.count("/") > 1 or not all(target.split("/")):
    raise UsageError(
      f"wandb is {target!r}; expected a project of Weights & Biases, such as "
      "digits or my-team/digits"
    )
  if importlib.util.find_spec("wandb") is None:
    raise UsageError(
      f"wandb is {target!r}, and the package wandb is not installed; expected "
      "pip install get_jax[wandb], or wandb=''"
    )


class WandbWriter:
  """Writes metrics, images and hyper-parameters to a run of Weights & Biases.

  The identifier of the run is kept in `<workdir>/wandb.json`, so that a resumed
  training continues the same run. Steps that the run already has are not
  written again; they are equal. The variables of the environment that the
  package reads, such as WANDB_MODE=offline, apply.

  Args:
    target: "project" or "entity/project".
    workdir: folder of the training. Files of the package go to its folder
      `wandb`, and to the current folder if it is in a bucket.
    name: name of a new run.

  Raises:
    UsageError: the service refuses the run or cannot be reached.
  """

  def __init__(self, target: str, workdir: Path, name: str):
    import wandb

    self._image = wandb.Image
    entity, _, project = target.rpartition("/")
    file = workdir / RUN_FILE
    try:
      self._run = wandb.init(
        entity=entity or None,
        project=project,
        id=run_id(file, target),
        resume="allow",
        name=name,
        dir=None if is_remote(workdir) else os.fspath(workdir),
        settings=wandb.Settings(console="off", silent=True),
      )
    except wandb.Error as error:
      reason = " ".join(str(error).split())
      raise UsageError(
        f"wandb is {target!r}, and Weights & Biases cannot open the run "
        f"({reason}); expected a project that you can write to after `wandb "
        "login`, or WANDB_MODE=offline"
      ) from error
    if not self._run.offline:
      print(f"wandb: {self._run.url}")

  def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes the scalars of a step."""
    self._run.log({k: float(v) for k, v in scalars.items()}, step=step)

  def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
    """Writes the images of a step, uint8 (B, H, W, C)."""
    self._run.log(
      {name: [*map(self._image, batch)] for name, batch in images.items()},
      step=step,
    )

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Does nothing: the run shows its hyper-parameters."""

  def write_hparams(self, hparams: Mapping[str, Any]) -> None:
    """Writes the hyper-parameters, as the run's config."""
    self._run.config.update(dict(hparams), allow_val_change=True)

  def flush(self) -> None:
    """Does nothing: the package sends data in the background."""

  def close(self) -> None:
    """Sends what is left, and ends the run, as failed after an exception."""
    self._run.finish(exit_code=0 if sys.exc_info()[0] is None else 1)


def run_id(file: Path, target: str) -> str:
  """Returns the identifier of the run; writes that of a new run to a file."""
  if file.exists():
    try:
      content = read_json_object(file, "the identifier of a run")
    except UsageError as error:
      log.warning("%s; the run gets a new one there", error)
      content = {}
    found = content.get("id")
    if content.get("target") == target and _ID.fullmatch(str(found)):
      return str(found)
  content = {"target": target, "id": secrets.token_hex(6)}
  write_text(file, json.dumps(content) + "\n")
  return content["id"]
