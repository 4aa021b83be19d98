"""--mode=convert: imports official checkpoints and exports parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from get_jax.builders.model import build_model
from get_jax.builders.tasks import check_task
from get_jax.errors import UsageError
from get_jax.interop import export_checkpoint, import_checkpoint
from get_jax.models.base import ImageModel
from get_jax.models.parameters import abstract_params
from get_jax.progress import print_ending
from get_jax.training.checkpoints import (
  Checkpoints,
  latest_step,
  load_params,
  params_digest,
)
from get_jax.training.workdir import (
  config_to_dict,
  locked,
  open_workdir,
  write_results,
)
from get_jax.weights import find, is_published, load, locate


def _import(checkpoint: str, model: ImageModel) -> dict[str, Any]:
  """Returns the parameters of a file or a name for a network."""
  path = locate(checkpoint, "network", "--checkpoint")
  if not (
    is_published(checkpoint, "network")
    and (entry := find(checkpoint, "network")).packaged
  ):
    return import_checkpoint(path, model)
  params, expected = load(checkpoint), abstract_params(model)
  if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, expected):
    raise UsageError(
      f"--checkpoint={checkpoint} does not fit the {type(model).__name__} of "
      f"the config; expected the network of configs/{entry.config}.py"
    )
  return params


def run(
  config: ml_collections.ConfigDict,
  workdir: str,
  checkpoint: str | None = None,
  export: str | None = None,
) -> None:
  """Imports a checkpoint into the workdir, or exports one from it.

  An imported checkpoint is saved as step 0, both as parameters and as their
  average: `sample` and `evaluate` use it, and `train` continues from it with a
  new optimiser state.

  Args:
    config: the experiment; its model must be that of the checkpoint.
    workdir: folder of the run.
    checkpoint: official file to import, or the name of a published one.
    export: .safetensors file to write the averaged parameters to.

  Raises:
    UsageError: not exactly one of checkpoint and export is given, the file does
      not fit the model, or the workdir to import into has checkpoints.
  """
  check_task(config)
  if (checkpoint is None) == (export is None):
    raise UsageError(
      "--mode=convert needs either --checkpoint=FILE to import or "
      "--export=FILE.safetensors to write"
    )
  model = build_model(config)
  # Before the workdir is opened: a file that does not fit creates no workdir.
  params = None
  if checkpoint is not None:
    params = _import(checkpoint, model)
  folder = open_workdir(workdir, config)
  if export is not None:
    params = load_params(folder)
    metadata = {
      "model": config_to_dict(config.model),
      "digest": params_digest(params),
    }
    export_checkpoint(export, model, params, metadata)
    print_ending("Finished", f"exported to {export}")
    return
  with locked(folder):
    if latest_step(folder) is not None:
      raise UsageError(
        f"{folder} already has checkpoints; expected an empty folder to import "
        "into"
      )
    with Checkpoints(folder / "checkpoints") as checkpoints:
      checkpoints.save_params(jax.tree.map(jnp.asarray, params))
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  results = {"checkpoint": checkpoint, "entries": count}
  write_results(folder, "convert", results)
  print_ending("Finished", f"imported {count:,} parameters into {folder}")
