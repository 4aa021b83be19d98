"""--mode=curve: quality against the training step or any other setting."""

from collections.abc import Mapping
from typing import Any

import jax
import ml_collections

from get_jax.builders.config_check import check_config
from get_jax.builders.evaluator import build_evaluator
from get_jax.builders.generator import build_generator
from get_jax.builders.tasks import check_task
from get_jax.errors import UsageError
from get_jax.evaluation import plot_curve
from get_jax.jobs.measure import measure
from get_jax.jobs.report_page import PAGE, write_page
from get_jax.progress import print_ending
from get_jax.training.checkpoints import load_params, saved_steps
from get_jax.training.workdir import open_workdir, write_results


def run(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Computes the scores at each value `curve.at` of the setting `curve.over`.

  Writes samples/curve_<over>.png, a file with its data next to it, and
  results/curve.json, and the page results/index.html again.

  Args:
    config: the experiment. `curve.over` is "step", with saved steps as values
      (all of them if `curve.at` is empty), or a key of the config, such as
      sampling.iterations, sampler.num_steps or guidance.scale.
    workdir: folder of the run.

  Raises:
    UsageError: `curve.at` is empty, or `curve.over` is not a key of the config
      with values of this type.
  """
  check_task(config)
  folder = open_workdir(workdir, config)
  over, values = config.curve.over, config.curve.at
  if over == "step":
    values = values or saved_steps(folder)
    if not values:
      raise UsageError(
        f"{folder} contains no checkpoints; expected a trained run"
      )
  elif not values:
    raise UsageError(
      f"curve.at is empty; expected the values of {over} to measure at"
    )
  evaluator = build_evaluator(config)
  points: list[tuple[Any, Mapping[str, float]]] = []
  protocol: dict[str, Any] = {}
  for value in values:
    step = value if over == "step" else None
    changed = config.copy_and_resolve_references()
    if over != "step":
      _set(changed, over, value)
    params = load_params(folder, step=step)
    result = measure(
      evaluator,
      changed,
      build_generator(changed),
      params,
      folder,
      f"{over}={value}",
    )
    points.append((value, result.scores))
    protocol = result.to_json()["protocol"]
  name = over.replace(".", "_")
  path = folder / "samples" / f"curve_{name}.png"
  if jax.process_index() == 0:
    plot_curve(path, over, points, protocol)
  content = {"over": over, "points": points, "protocol": protocol}
  write_results(folder, "curve", content)
  write_page(folder)
  for value, scores in points:
    formatted = ", ".join(f"{k} {v:.4g}" for k, v in scores.items())
    print(f"{over}={value}: {formatted}")
  print_ending("Finished", f"plot in {path}; report page {folder / PAGE}")


def _set(config: ml_collections.ConfigDict, key: str, value: Any) -> None:
  """Sets a key, also one that the config leaves out."""
  path, _, name = key.rpartition(".")
  try:
    section = config
    for part in path.split(".") if path else ():
      section = section[part]
    with config.unlocked():
      section[name] = value
    check_config(config)
  except (LookupError, AttributeError, TypeError, ValueError) as error:
    raise UsageError(
      f"curve.over is {key!r} and a value {value!r}; expected 'step' or a key "
      f"of the config with values of its type ({error})"
    ) from error
