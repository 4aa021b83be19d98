"""--mode=convert: official checkpoints in, and our parameters out."""

import jax
import jax.numpy as jnp

from get_jax.builders.model import build_model
from get_jax.builders.sections import check_task
from get_jax.errors import UsageError
from get_jax.interop import export_checkpoint, import_checkpoint
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


def run(
  config, workdir: str, checkpoint: str | None = None, export: str | None = None
) -> None:
  """Imports --checkpoint into the workdir, or exports the workdir.

  An imported checkpoint stands at step 0, as parameters and as their average:
  `sample` and `evaluate` take it, and `train` goes on from it with a fresh
  optimiser.
  """
  check_task(config)
  if (checkpoint is None) == (export is None):
    raise UsageError(
      "--mode=convert needs either --checkpoint=FILE to import or "
      "--export=FILE.safetensors to write"
    )
  model = build_model(config)
  # A file that does not fit leaves no workdir of this config behind.
  params = import_checkpoint(checkpoint, model) if checkpoint else None
  folder = open_workdir(workdir, config)
  if export is not None:
    params = load_params(folder)
    facts = {
      "model": config_to_dict(config.model),
      "digest": params_digest(params),
    }
    export_checkpoint(export, model, params, facts)
    print(f"wrote {export}")
    return
  with locked(folder):
    if latest_step(folder) is not None:
      raise UsageError(
        f"{folder} holds checkpoints already; expected an empty folder to "
        "import into"
      )
    with Checkpoints(folder / "checkpoints") as checkpoints:
      checkpoints.save_params(jax.tree.map(jnp.asarray, params))
  count = sum(leaf.size for leaf in jax.tree.leaves(params))
  facts = {"checkpoint": checkpoint, "entries": count}
  write_results(folder, "convert", facts)
  print(f"imported {count:,} numbers into {folder}")
