"""--mode=latents: encodes a data set once, for training in latent space."""

from typing import Any

import ml_collections

from get_jax.errors import UsageError
from get_jax.jobs.captions import encode_captions_of_images
from get_jax.jobs.latents import encode_latents
from get_jax.progress import print_ending
from get_jax.training.workdir import open_workdir, write_results


def run(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Encodes `config.latents.data` into the directory `config.data.path`.

  If the data has captions, these are encoded first, into `data.captions`. Each
  host encodes its own shards on its own devices.

  Args:
    config: the experiment.
    workdir: folder of the run, for results/latents.json and data.json.

  Raises:
    UsageError: the config does not train on latents, or lacks the section
      `latents`.
  """
  captioned = config.data.get("name") == "captioned_latents"
  if "latents" not in config or not (
    captioned or config.data.get("name") == "latents"
  ):
    raise UsageError(
      "--mode=latents needs a config that trains on latents; expected "
      "data.name='latents', data.path and a section latents"
    )
  folder = open_workdir(workdir, config)
  results: dict[str, Any] = {}
  if captioned:
    results["captions"] = encode_captions_of_images(
      config.latents, config.data.captions
    )
  results |= encode_latents(
    config.latents, config.autoencoder, config.data.path, folder
  )
  write_results(folder, "latents", results)
  print_ending("Finished", f"{results['count']} latents in {config.data.path}")
