"""The folder of a run: its config, its lock, its results."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections

from get_jax.errors import UsageError
from get_jax.training.processes import run_on_main

# What may change between two visits to the same run.
FREE = (
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
)
# What may too, but for the teacher of pairs that are made already.
FREE_GENERATION = ("guidance", "sampler")
# Of a network: how it computes, not what.
FREE_FIELDS = re.compile(r"(^|\.)model\.(attention|remat|scan)$")


def open_workdir(
  workdir: str | os.PathLike, config: ml_collections.ConfigDict
) -> pathlib.Path:
  """Makes or re-enters a run's folder and leaves the config in it.

  A folder with nothing but a config, as a refused start leaves it, is free.

  Raises:
    UsageError: the folder cannot be written, or belongs to another
      experiment; the differing keys are named.
  """
  workdir = pathlib.Path(workdir)
  run_on_main(lambda: _enter(workdir, config))
  return workdir


def _enter(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> None:
  path = workdir / "config.json"
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    found = json.loads(path.read_text("utf-8")) if path.exists() else None
    wanted = plain(config)
    if found is not None and _begun(workdir):
      _refuse_other(workdir, _identity(found), _identity(wanted))
    write_json(path, wanted)
  except OSError as error:
    raise UsageError(
      f"--workdir={workdir} cannot be written ({error.strerror}); "
      "expected a folder of your own"
    ) from error
  except json.JSONDecodeError as error:
    raise UsageError(f"{path} is not JSON ({error})") from error


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
  """Holds the folder against a second run; freed when process 0 ends.

  Raises:
    UsageError: another run is at work in it.
  """
  with contextlib.ExitStack() as held:

    def lock():
      file = held.enter_context((workdir / "lock").open("w"))
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except OSError as error:
        raise UsageError(
          f"another process is at work in {workdir}; expected to be alone there"
        ) from error

    run_on_main(lock)
    yield


def write_json(path: pathlib.Path, content: Any) -> None:
  """Writes JSON at once or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(path.name + ".tmp")
  temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
  temporary.replace(path)


def write_results(workdir: pathlib.Path, mode: str, content: Any) -> None:
  """Leaves every figure that a mode printed in results/<mode>.json."""
  if jax.process_index() == 0:
    write_json(workdir / "results" / f"{mode}.json", content)


def plain(config: ml_collections.ConfigDict) -> dict:
  """A config as JSON holds it."""
  return json.loads(config.to_json())


def _begun(workdir: pathlib.Path) -> bool:
  """Whether a run is at work, or there is anything but configs and locks."""
  with (workdir / "lock").open("w") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
      return True
  files = (path for path in workdir.rglob("*") if path.is_file())
  return any(file.name not in ("config.json", "lock") for file in files)


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
  """The settings that make the experiment, flat: "model.depth" -> 4."""
  flat = {}

  def walk(prefix, value):
    if isinstance(value, Mapping) and value:
      for key, inner in value.items():
        walk(f"{prefix}.{key}" if prefix else key, inner)
    else:
      flat[prefix] = value

  own = (*FREE, *FREE_GENERATION, "teacher")
  walk("", {k: v for k, v in config.items() if k not in own})
  teacher = config.get("teacher") or {}
  walk("teacher", {k: v for k, v in teacher.items() if k not in FREE})
  flat = {k: v for k, v in flat.items() if not FREE_FIELDS.search(k)}
  if flat.get("optimizer.schedule") == "constant":
    flat.pop("num_steps", None)
  return flat


def _refuse_other(workdir, found: dict, wanted: dict) -> None:
  keys = sorted(found.keys() | wanted.keys())
  differing = [key for key in keys if found.get(key) != wanted.get(key)]
  if differing:
    shown = ", ".join(
      f"{key} ({found.get(key)!r} there, {wanted.get(key)!r} now)"
      for key in differing[:8]
    )
    rest = len(differing) - 8
    more = f" and {rest} more" if rest > 0 else ""
    raise UsageError(
      f"--workdir={workdir} belongs to another experiment; it differs in "
      f"{shown}{more}"
    )
