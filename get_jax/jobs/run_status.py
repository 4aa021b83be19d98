"""Reads how far a run is from the files of its workdir, without changing any.

Nothing here initialises a JAX backend, so that a run can be watched from a
machine without its devices, or while it uses them.
"""

import dataclasses
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

import ml_collections

from get_jax.builders.teacher import with_teachers
from get_jax.errors import UsageError
from get_jax.storage.lease import DURATION, find_holder
from get_jax.storage.paths import Path, as_path, is_remote
from get_jax.storage.shards import MANIFEST, Layout
from get_jax.training.checkpoints import saved_steps
from get_jax.training.metrics import METRICS, read_metrics
from get_jax.training.workdir import read_config

NUM_PICTURES = 3  # pictures in the status
NUM_RECENT = 8  # intervals from which a rate is computed


@dataclasses.dataclass(frozen=True)
class Stage:
  """A part of a run's work.

  Attributes:
    name: what is done, such as "train".
    done: units that are done.
    total: units to do.
    unit: "step", "pair", "record", "image" or "report".
    finished: whether nothing is left to do.
    saved: units that are kept if the run is killed now.
    rate: units per second lately; None if unknown.
    updated: time of the last progress, in seconds since the epoch.
    losses: the logged losses, oldest first.
  """

  name: str
  done: int
  total: int
  unit: str
  finished: bool
  saved: int
  rate: float | None = None
  updated: float | None = None
  losses: Sequence[float] = ()

  @property
  def seconds_left(self) -> float | None:
    """Seconds to the end at this rate; None if the rate is unknown."""
    return (self.total - self.done) / self.rate if self.rate else None


@dataclasses.dataclass(frozen=True)
class RunStatus:
  """How far a run is.

  Attributes:
    workdir: folder of the run.
    config: its config.
    stages: the parts of its work, in order.
    checkpoints: steps of its checkpoints.
    pictures: its newest pictures and when they were written, newest first.
    results: paths of its results.
    writer: the process that uses the workdir, such as "process 42 on host-1";
      None: no process.
    evaluations: the evaluations that are running: the images whose features
      are computed, and the process.
  """

  workdir: Path
  config: ml_collections.ConfigDict
  stages: Sequence[Stage]
  checkpoints: Sequence[int]
  pictures: Sequence[tuple[Path, float]]
  results: Sequence[Path]
  writer: str | None
  evaluations: Sequence[tuple[int, str]] = ()


def read_status(workdir: str) -> RunStatus:
  """Reads how far a run is.

  Args:
    workdir: folder of the run.

  Raises:
    UsageError: the folder does not exist or holds no run.
  """
  folder = as_path(workdir)
  if not folder.is_dir():
    raise UsageError(
      f"--workdir={workdir} does not exist; expected the folder of a run"
    )
  config = read_config(folder)
  for key in ("model", "task", "num_steps"):
    if key not in config:
      raise UsageError(
        f"{folder / 'config.json'} has no key {key}; expected the config of a "
        "run"
      )
  directories = [folder, *_encoded(config).values(), *_parts_of_samples(folder)]
  return RunStatus(
    workdir=folder,
    config=config,
    stages=[*_stages(config, folder)],
    checkpoints=saved_steps(folder),
    pictures=_newest_pictures([folder, folder / "teacher"]),
    results=sorted((folder / "results").glob("*.*")),
    writer=next(_holders(directories), None),
    evaluations=[*_running_evaluations(folder)],
  )


def _stages(config: ml_collections.ConfigDict, folder: Path) -> Iterator[Stage]:
  """Yields the parts of a run in the order in which they are done."""
  for name, directory in _encoded(config).items():
    yield from _shards_stage(name, directory, "record")
  teachers = [*with_teachers(config, folder)][1:]
  for teacher, place in reversed(teachers):
    yield _training_stage("teacher", teacher, place)
  if config.task == "distillation" and not config.pairs.directory:
    pairs = [*_shards_stage("pairs", folder / "pairs", "pair")]
    nothing = Stage("pairs", 0, config.pairs.count, "pair", False, 0)
    yield from pairs or [nothing]
  yield _training_stage("train", config, folder)
  if "report" in config and config.report.enabled:
    path = folder / "results" / "report.json"
    made = path.exists()
    updated = _modified(path) if made else None
    yield Stage("report", made, 1, "report", made, made, updated=updated)
  for parts in _parts_of_samples(folder):
    yield from _shards_stage("samples", parts, "image")


def _encoded(config: ml_collections.ConfigDict) -> dict[str, Path]:
  """Returns the directories of what --mode=latents encodes, by name."""
  if "latents" not in config:
    return {}
  keys = {"captions": "captions", "latents": "path"}
  return {
    name: as_path(config.data[key])
    for name, key in keys.items()
    if config.data.get(key)
  }


def _parts_of_samples(folder: Path) -> list[Path]:
  """Returns the directories of samples that are not in one file yet."""
  return sorted((folder / "samples").glob("parts-*"))


def _newest_pictures(folders: Sequence[Path]) -> list[tuple[Path, float]]:
  """Returns the newest pictures of runs and when they were written."""
  pictures = []
  for folder in folders:
    paths = {path.name: path for path in (folder / "samples").glob("*.png")}
    previews = sorted(name for name in paths if re.fullmatch(r"\d+\.png", name))
    # In a bucket, every time of writing is a request.
    for name in paths.keys() - previews[:-NUM_PICTURES]:
      pictures.append((paths[name], _modified(paths[name])))
  pictures.sort(key=lambda picture: (picture[1], str(picture[0])), reverse=True)
  return pictures[:NUM_PICTURES]


def _training_stage(
  name: str, config: ml_collections.ConfigDict, folder: Path
) -> Stage:
  """Reads how far a training is from its metrics and checkpoints."""
  records = read_metrics(folder)
  saved = max(saved_steps(folder), default=0)
  logged = int(records[-1]["step"]) if records else 0
  path = folder / METRICS
  return Stage(
    name=name,
    done=max(saved, logged),
    total=config.num_steps,
    unit="step",
    finished=saved >= config.num_steps,
    saved=saved,
    rate=_steps_per_second(records, config.batch_size),
    updated=_modified(path) if records and path.exists() else None,
    losses=[record["loss"] for record in records if "loss" in record],
  )


def _steps_per_second(
  records: Sequence[Mapping[str, float]], batch_size: int
) -> float | None:
  recent = [record.get("images_per_second") for record in records]
  rates = [rate for rate in recent[-NUM_RECENT:] if rate]
  return statistics.harmonic_mean(rates) / batch_size if rates else None


def _shards_stage(name: str, directory: Path, unit: str) -> Iterator[Stage]:
  """Yields how far a directory of shards is, if there is one."""
  if not (directory / MANIFEST).exists():
    return
  layout = Layout.read(directory)
  shards = sorted(
    int(path.stem)
    for path in directory.glob("*.json")
    if re.fullmatch(r"\d+", path.stem)
  )

  def num_records(shards: list[int]) -> int:
    return sum(len(layout.shard_range(shard)) for shard in shards)

  recent = shards[-NUM_RECENT:]
  times = sorted(_modified(directory / f"{s:05d}.json") for s in recent)
  rate = None
  if times and times[-1] > times[0]:
    rate = num_records(recent[1:]) / (times[-1] - times[0])
  done = num_records(shards)
  yield Stage(
    name=name,
    done=done,
    total=layout.count,
    unit=unit,
    finished=done >= layout.count,
    saved=done,
    rate=rate,
    updated=times[-1] if times else None,
  )


def _running_evaluations(folder: Path) -> Iterator[tuple[int, str]]:
  """Yields how many images have features, and the process that adds others."""
  for features in sorted((folder / "features").glob("*")):
    for holder in _holders([features]):
      ranges = [path.stem.split("-") for path in features.glob("*-*.npz")]
      yield sum(int(last) - int(first) + 1 for first, last in ranges), holder
      break


def _holders(directories: Sequence[Path]) -> Iterator[str]:
  """Yields the processes that have locked one of the directories.

  In a bucket, a process that has not renewed its lease in time is dead.
  """
  for path in (path for folder in directories for path in folder.glob("lock*")):
    holder = find_holder(path)
    if holder is None:
      continue
    if is_remote(path) and time.time() - _modified(path) > DURATION:
      continue
    if "pid" in holder and "host" in holder:
      yield f"process {holder['pid']} on {holder['host']}"
    else:
      yield "another process"


def _modified(path: Path) -> float:
  return path.stat().mtime
