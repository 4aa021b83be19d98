"""Parameters that a run starts from: those of another run or checkpoint."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections

from get_jax.builders.config_file import load_config_file
from get_jax.builders.model import build_model
from get_jax.builders.process import build_process
from get_jax.builders.teacher import (
  check_is_teacher,
  check_unchanged,
  starts_from_teacher,
)
from get_jax.diffusion.objectives import OBJECTIVES
from get_jax.errors import UsageError
from get_jax.interop import import_checkpoint_of_any_size
from get_jax.models.adapt import adapt_params, describe_adaptation
from get_jax.models.base import ImageModel
from get_jax.storage.paths import Path, StrPath, as_path
from get_jax.training.checkpoints import latest_step, load_params, saved_steps
from get_jax.training.processes import run_on_main
from get_jax.training.rng import named_key
from get_jax.training.workdir import read_config, write_results
from get_jax.weights import (
  create_network,
  fetch_together,
  find,
  is_published,
  suggest_names,
)
from get_jax.weights import load as load_weights

_MAX_LINES = 12  # changes that are printed


@dataclasses.dataclass(frozen=True)
class InitialParams:
  """Parameters adapted to the network of an experiment.

  Attributes:
    params: parameter tree, NumPy arrays.
    source: where they are from.
    changes: what was changed, by path; numbers of blocks are replaced by "*".
  """

  params: dict[str, Any]
  source: str
  changes: Mapping[str, str]

  def report(self, workdir: Path, name: str) -> None:
    """Prints the changes and writes them to results/init.json."""
    lines = [f"{path}: {change}" for path, change in self.changes.items()]
    rest = len(lines) - _MAX_LINES
    more = [f"and {rest} more"] if rest > 0 else []
    changes = "; ".join([*lines[:_MAX_LINES], *more]) or "nothing is changed"
    print(f"{name}: starts from the {self.source}; {changes}")
    content = {"source": self.source, "changes": dict(self.changes)}
    write_results(workdir, "init", content)


def check_init_from(
  config: ml_collections.ConfigDict, workdir: StrPath
) -> None:
  """Checks that `config.init_from` exists and fits the network.

  A run that has a checkpoint does not need it.

  Args:
    config: the experiment.
    workdir: folder of the run.

  Raises:
    UsageError: there is no such workdir or file, or it does not fit; or it is
      to be a teacher and has another process or network.
  """
  if needs_init(config, workdir):
    _describe(config, _open_source(config.init_from, build_model(config)))


def needs_init(config: ml_collections.ConfigDict, workdir: StrPath) -> bool:
  """Returns whether a run is to start from the parameters of another."""
  if not config.get("init_from"):
    return False
  return run_on_main(lambda: latest_step(workdir)) is None


def load_initial_params(
  config: ml_collections.ConfigDict, key: jax.Array
) -> InitialParams:
  """Loads `config.init_from` and adapts it to the network.

  Args:
    config: the experiment.
    key: PRNG key of what starts fresh.

  Raises:
    UsageError: see `check_init_from`.
  """
  model = build_model(config)
  source = _open_source(config.init_from, model)
  changes = _describe(config, source)
  params = adapt_params(
    source.load(), source.model, model, key=key, **_options(config)
  )
  return InitialParams(params, source.description, changes)


def load_params_or_init(
  config: ml_collections.ConfigDict, workdir: Path
) -> tuple[dict[str, Any], str]:
  """Loads the parameters to generate samples with.

  Args:
    config: the experiment.
    workdir: folder of the run. If it has no checkpoint and `config.init_from`
      is not empty, these are the adapted parameters of another run.

  Returns:
    The parameters and what they are, such as "ema".

  Raises:
    UsageError: there are no parameters, or they do not fit.
  """
  if not needs_init(config, workdir):
    return load_params(workdir), "ema"
  initial = load_initial_params(config, named_key(config.seed, "init"))
  initial.report(workdir, "samples")
  return initial.params, initial.source


@dataclasses.dataclass(frozen=True)
class _Source:
  """A network with parameters.

  Attributes:
    model: the network.
    load: returns its parameters.
    description: where they are from.
    config: returns the experiment that trained them; None if it is unknown.
  """

  model: ImageModel
  load: Callable[[], dict[str, Any]]
  description: str
  config: Callable[[], ml_collections.ConfigDict] | None = None


def _open_source(init_from: str, model: ImageModel) -> _Source:
  """Opens published weights, a workdir, one of its checkpoints, or a file."""
  if is_published(init_from, "network"):
    fetch_together(init_from)
    experiment = find(init_from, "network").config
    return _Source(
      create_network(init_from),
      lambda: load_weights(init_from),
      f"published {init_from}",
      (lambda: load_config_file(experiment)) if experiment else None,
    )
  path = as_path(init_from)
  if path.is_file():
    params, source = import_checkpoint_of_any_size(path, model)
    return _Source(source, lambda: params, f"file {init_from}")
  workdir, step = path, None
  if path.parent.name == "checkpoints" and path.name.isdigit():
    workdir, step = path.parent.parent, int(path.name)
  steps = saved_steps(workdir)
  if not steps or step not in (None, *steps):
    found = "does not exist" if not path.is_dir() else "contains no checkpoint"
    raise UsageError(
      f"init_from={init_from} {found}; expected the workdir of a trained run, "
      "one of its checkpoints (workdir/checkpoints/STEP), the file of an "
      f"official checkpoint or its name ({suggest_names(init_from, 'network')})"
    )
  config = read_config(workdir)
  return _Source(
    build_model(config),
    lambda: load_params(workdir, step=step),
    f"EMA of {init_from}",
    lambda: config,
  )


def _describe(
  config: ml_collections.ConfigDict, source: _Source
) -> dict[str, str]:
  """Returns what is changed, with like parameters of all blocks as one."""
  where, is_teacher = (
    f"init_from={config.init_from}",
    starts_from_teacher(config),
  )
  if is_teacher and source.config is not None:
    check_is_teacher(config, source.config(), where)
  try:
    changes = describe_adaptation(
      source.model, build_model(config), **_options(config)
    )
  except UsageError as error:
    raise UsageError(f"{where}: {error}") from None
  if is_teacher:
    check_unchanged(config, changes, where)
  grouped = {} if is_teacher else _process_changes(config, source)
  for path, change in changes.items():
    grouped[re.sub(r"(?<=_)\d+(?=/)", "*", path)] = change
  return grouped


def _process_changes(
  config: ml_collections.ConfigDict, source: _Source
) -> dict[str, str]:
  """Returns how the process differs from the one of the source.

  The parameters fit all the same, but the network predicts something else.
  """
  trained = source.config() if source.config is not None else config
  if not {trained.task, config.task} <= set(OBJECTIVES):
    return {}
  old, new = build_process(trained), build_process(config)
  found: dict[str, tuple[Any, Any]] = {}
  if type(old) is not type(new):
    found["process.name"] = trained.process.name, config.process.name
  else:
    key = "process.prediction"
    found[key] = (
      getattr(old, "prediction", None),
      getattr(new, "prediction", None),
    )
  return {
    key: f"{before!r} in training, {now!r} here"
    for key, (before, now) in found.items()
    if before != now
  }


def _options(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Returns the settings of `config.init` as arguments of `adapt_params`."""
  section = config.get("init", {})
  reset = ",".join(section.get("reset", ()))
  return {
    "classes": tuple(section.get("classes", ())),
    "reset": tuple(name.strip() for name in reset.split(",") if name.strip()),
    "positions": section.get("positions", "bicubic"),
    "resize_patches": section.get("resize_patches", False),
  }
