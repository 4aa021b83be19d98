"""The workdir of a run: its config, lock and results."""

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections

from get_jax.equilibrium.settings import identifying_settings
from get_jax.errors import UsageError, printable, reason, shorten
from get_jax.storage.json_files import read_json_object, write_json
from get_jax.storage.lease import Lease, is_held
from get_jax.storage.paths import TEMPORARY_SUFFIX, Path, as_path
from get_jax.training.processes import run_on_main

LOCK = "lock"
# Config sections and keys that may change when a run is resumed.
MUTABLE_KEYS = (
  "accumulation",
  "autoencoder",
  "checkpoint_every",
  "curve",
  "evaluation",
  "keep_checkpoints",
  "latents",
  "loader",
  "log_every",
  "mesh",
  "preview_every",
  "report",
  "sampling",
  "wandb",
)
# May change as well, except in the section `teacher`: existing pairs depend on
# them.
MUTABLE_SAMPLING_KEYS = ("guidance", "sampler")
# Settings of image files that older configs lack; their defaults, as in JSON,
# are no difference.
DATA_DEFAULTS = {
  "orientation": "exif",
  "background": [255, 255, 255],
  "skip_broken": False,
}
# Settings without a meaning, and absent in older configs, if `init_from` is
# empty. If it is not, training starts from other parameters, so that they
# identify the experiment.
INIT_KEYS = re.compile(r"(teacher\.)?init(_from$|$|\.)")
# Describes the data of a run, see `get_jax.jobs.data_info.check_data`. Where it
# exists the data are compared by content, and may be moved.
DATA_FILE = "data.json"
LOCATIONS = re.compile(
  r"data\.(path|data_dir|captions|verify)|pairs\.(directory|teacher_workdir)"
)
# Model fields that affect how the model computes, not what.
MUTABLE_MODEL_FIELDS = re.compile(r"(^|\.)model\.(attention|remat|scan)$")


def open_workdir(
  workdir: str | os.PathLike, config: ml_collections.ConfigDict
) -> Path:
  """Creates or opens the workdir of a run and saves the config in it.

  A folder that contains only a config, such as a start with invalid input
  leaves behind, belongs to no experiment.

  Args:
    workdir: the folder, on disk or in a bucket.
    config: config of the run, saved as `config.json`.

  Returns:
    The folder as a path.

  Raises:
    UsageError: the folder cannot be written, or belongs to another experiment;
      the message lists the differing keys.
  """
  path = as_path(workdir)
  if os.fspath(path).startswith("s3://"):
    raise UsageError(
      f"--workdir={workdir} is in S3, where Orbax writes no checkpoints; "
      "expected a folder on disk or in a bucket of Google Cloud, gs://..."
    )
  run_on_main(lambda: _save_config(path, config))
  return path


def _save_config(workdir: Path, config: ml_collections.ConfigDict) -> None:
  path = workdir / "config.json"
  try:
    found = read_json_object(path, "a config") if path.exists() else None
    wanted = config_to_dict(config)
    if found is not None and _in_use(workdir):
      old, new = _identity(found), _identity(wanted)
      for prefix, folder in (("", workdir), ("teacher.", workdir / "teacher")):
        if (folder / DATA_FILE).exists():
          old = _without_locations(old, prefix)
          new = _without_locations(new, prefix)
      _check_same_experiment(workdir, old, new)
    write_json(path, wanted)
  except OSError as error:
    raise UsageError(
      f"--workdir={workdir} cannot be written ({error.strerror}); "
      "expected a writable folder"
    ) from error


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
  """Locks the workdir against a second run until process 0 leaves the context.

  The lock is also released when process 0 exits. Its file has the host and the
  number of the process.

  Raises:
    UsageError: another run uses the workdir.
  """
  with contextlib.ExitStack() as stack:
    lease = Lease(
      workdir / LOCK,
      f"another process uses {workdir}; expected one run per workdir",
    )

    def lock() -> None:
      stack.enter_context(lease)

    run_on_main(lock)
    yield


def write_results(workdir: Path, mode: str, content: Any) -> None:
  """Writes the results of a mode to results/<mode>.json, on process 0 only.

  Args:
    workdir: folder of the run.
    mode: name of the mode.
    content: every figure that the mode printed, JSON-serializable.
  """
  if jax.process_index() == 0:
    write_json(workdir / "results" / f"{mode}.json", content)


def read_config(
  workdir: str | os.PathLike[str],
) -> ml_collections.ConfigDict:
  """Reads the config of a run; lists become tuples.

  Raises:
    UsageError: the workdir has no config, or it is not JSON.
  """
  path = as_path(workdir) / "config.json"
  if not path.is_file():
    raise UsageError(f"{workdir} has no config.json; expected a trained run")

  def with_tuples(value):
    if isinstance(value, Mapping):
      return {key: with_tuples(inner) for key, inner in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value

  try:
    content = read_json_object(path, "a config")
    return ml_collections.ConfigDict(with_tuples(content))
  except (ValueError, TypeError, AttributeError, RecursionError) as error:
    if isinstance(error, UsageError):
      raise
    raise UsageError(f"{path} is no config ({reason(error)})") from error


def config_to_dict(config: ml_collections.ConfigDict) -> dict:
  """Returns a config as it is stored in JSON; tuples become lists."""
  return json.loads(config.to_json())


def _in_use(workdir: Path) -> bool:
  """Whether the workdir has files besides config and lock, or is locked."""
  for _, _, names in workdir.walk():
    for name in names:
      if name not in ("config.json", LOCK):
        if not name.endswith(TEMPORARY_SUFFIX):
          return True
  return is_held(workdir / LOCK)


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
  """The settings that identify the experiment, flat: "model.depth" -> 4."""
  flat: dict[str, Any] = {}

  def walk(prefix, value):
    if isinstance(value, Mapping) and value:
      for key, inner in value.items():
        walk(f"{prefix}.{key}" if prefix else key, inner)
    else:
      flat[prefix] = value

  excluded = (*MUTABLE_KEYS, *MUTABLE_SAMPLING_KEYS, "teacher", "equilibrium")
  walk("", {k: v for k, v in config.items() if k not in excluded})
  equilibrium = config.get("equilibrium", {})
  if isinstance(equilibrium, Mapping):
    equilibrium = identifying_settings(equilibrium)
  walk("equilibrium", equilibrium)
  teacher = config.get("teacher") or {}
  walk("teacher", {k: v for k, v in teacher.items() if k not in MUTABLE_KEYS})
  flat = {k: v for k, v in flat.items() if not MUTABLE_MODEL_FIELDS.search(k)}
  for key, default in DATA_DEFAULTS.items():
    for name in (f"data.{key}", f"teacher.data.{key}"):
      if flat.get(name) == default:
        flat.pop(name, None)
  for prefix in ("", "teacher."):
    if not flat.get(f"{prefix}init_from"):
      flat = {
        key: value
        for key, value in flat.items()
        if not (match := INIT_KEYS.match(key)) or (match[1] or "") != prefix
      }
  # A run that has stopped may go on, and skip the step.
  for name in ("optimizer.nonfinite", "teacher.optimizer.nonfinite"):
    if flat.get(name) == "skip":
      flat[name] = "stop"
  if flat.get("optimizer.schedule") == "constant":
    flat.pop("num_steps", None)
  return flat


def _without_locations(
  settings: Mapping[str, Any], prefix: str
) -> dict[str, Any]:
  """Returns settings without those that name where data are."""
  return {
    key: value
    for key, value in settings.items()
    if not key.startswith(prefix)
    or not LOCATIONS.fullmatch(key.removeprefix(prefix))
  }


def _check_same_experiment(workdir: Path, found: dict, wanted: dict) -> None:
  keys = sorted(found.keys() | wanted.keys())
  differing = [key for key in keys if found.get(key) != wanted.get(key)]
  if differing:
    shown = ", ".join(
      f"{printable(key)} ({shorten(found.get(key))} there, "
      f"{shorten(wanted.get(key))} now)"
      for key in differing[:8]
    )
    rest = len(differing) - 8
    more = f" and {rest} more" if rest > 0 else ""
    raise UsageError(
      f"--workdir={workdir} belongs to another experiment; it differs in "
      f"{shown}{more}"
    )
