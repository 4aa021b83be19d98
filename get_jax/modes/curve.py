"""--mode=curve: quality against training step, or against any setting."""

import jax

from get_jax.builders.evaluator import build_evaluator
from get_jax.builders.generator import build_generator
from get_jax.builders.sections import check_task
from get_jax.errors import UsageError
from get_jax.evaluation import plot_curve
from get_jax.jobs.measure import measure
from get_jax.training.checkpoints import load_params, saved_steps
from get_jax.training.workdir import open_workdir, write_results


def run(config, workdir: str) -> None:
  """Measures at each of `curve.at` of `curve.over`.

  `over` is "step" (values: saved steps, all of them by default) or a key of
  the config, such as sampling.iterations, sampler.num_steps or guidance.scale.
  Leaves samples/curve_<over>.png with its data beside it.
  """
  check_task(config)
  folder = open_workdir(workdir, config)
  over, values = config.curve.over, config.curve.at
  if over == "step":
    values = values or saved_steps(folder)
  elif not values:
    raise UsageError(
      f"curve.at is empty; expected the values of {over} to measure at"
    )
  evaluator = build_evaluator(config)
  points, protocol = [], {}
  for value in values:
    step = value if over == "step" else None
    here = config.copy_and_resolve_references()
    if over != "step":
      _set(here, over, value)
    params = load_params(folder, step=step)
    result = measure(
      evaluator, here, build_generator(here), params, folder, f"{over}={value}"
    )
    points.append((value, result.scores))
    protocol = result.to_json()["protocol"]
  name = over.replace(".", "_")
  path = folder / "samples" / f"curve_{name}.png"
  if jax.process_index() == 0:
    plot_curve(path, over, points, protocol)
  content = {"over": over, "points": points, "protocol": protocol}
  write_results(folder, "curve", content)
  for value, scores in points:
    shown = ", ".join(f"{k} {v:.4g}" for k, v in scores.items())
    print(f"{over}={value}: {shown}")
  print(f"picture in {path}")


def _set(config, key: str, value) -> None:
  config.lock()
  try:
    config.update_from_flattened_dict({key: value})
  except (KeyError, AttributeError, TypeError, ValueError) as error:
    raise UsageError(
      f"curve.over is {key!r} and a value {value!r}; expected 'step' or a key "
      f"of the config with values of its type ({error})"
    ) from error
