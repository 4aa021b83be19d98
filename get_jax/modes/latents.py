"""--mode=latents: encodes a data set once, for training in latent space."""

from get_jax.errors import UsageError
from get_jax.jobs.captions import encode_captions_of_images
from get_jax.jobs.latents import encode_latents
from get_jax.training.workdir import open_workdir, write_results


def run(config, workdir: str) -> None:
  """Encodes `config.latents.data` into the directory `config.data.path`.

  Where the data has captions they are encoded first, into `data.captions`.
  Every host encodes shards of its own on its own devices.

  Raises:
    UsageError: the config does not train on latents, or does not say which.
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
  made = {}
  if captioned:
    made["captions"] = encode_captions_of_images(
      config.latents, config.data.captions
    )
  made |= encode_latents(config.latents, config.autoencoder, config.data.path)
  write_results(folder, "latents", made)
