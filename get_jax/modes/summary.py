"""--mode=summary: network size; needs neither data nor accelerator."""

from typing import Any

import ml_collections
from clu import parameter_overview
from rich.console import Console
from rich.table import Table

from get_jax.builders.conditioning import abstract_conditioning
from get_jax.builders.model import build_model, build_student
from get_jax.builders.objective import build_objective
from get_jax.builders.tasks import check_task
from get_jax.models.base import ImageModel
from get_jax.models.counting import model_size
from get_jax.models.parameters import abstract_params
from get_jax.progress import print_ending
from get_jax.training.workdir import open_workdir, write_results

COPIES = 4  # of the parameters in the state: themselves, average, two moments


def run(config: ml_collections.ConfigDict, workdir: str | None) -> None:
  """Prints the parameters, multiply-adds and memory of the state.

  A list of all parameters is followed by a table of the figures, which are
  exact. With a workdir, also writes the figures to results/summary.json.

  Args:
    config: the experiment.
    workdir: folder of the run, or None.
  """
  check_task(config)
  model = build_model(config)
  call: dict[str, Any] = {}
  if config.task == "distillation":
    if build_student(config, model).has_equilibrium:
      call["iterations"] = config.sampling.iterations
  size = model_size(model, **call)
  entries = size.params + size.position_table
  targets = _target_names(config, model)
  figures = {
    "model": config.model.name,
    "params": size.params,
    "params_position_table": size.position_table,
    "macs": size.macs,
    **call,
    "state_bytes": 4 * (COPIES + len(targets)) * entries,
    "gradient_bytes": 4 * entries,
  }
  params = abstract_params(model)
  print(parameter_overview.get_parameter_overview(params, include_stats=False))
  table = Table("figure", "value", title=config.model.name)
  for column in table.columns[1:]:
    column.justify = "right"
  table.add_row("parameters", f"{size.params:,}")
  table.add_row("entries of the position table", f"{size.position_table:,}")
  note = "".join(f" ({v} {k})" for k, v in call.items())
  table.add_row(
    f"multiply-adds of one forward pass{note}", f"{size.macs / 1e9:.4g} G"
  )
  table.add_row(
    ", ".join(["float32 state: parameters, EMA, two moments", *targets]),
    f"{figures['state_bytes'] / 2**30:.3g} GiB",
  )
  table.add_row(
    "gradients in a training step",
    f"{figures['gradient_bytes'] / 2**30:.3g} GiB",
  )
  Console().print(table)
  if workdir is not None:
    folder = open_workdir(workdir, config)
    write_results(folder, "summary", figures)
    path = folder / "results" / "summary.json"
    print_ending("Finished", f"figures in {path}")


def _target_names(
  config: ml_collections.ConfigDict, model: ImageModel
) -> tuple[str, ...]:
  """Returns the names of the networks that the objective compares with."""
  conditioning = abstract_conditioning(config, model)
  return build_objective(config, model, 0, conditioning).target_names
