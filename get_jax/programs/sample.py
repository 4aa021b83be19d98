"""--mode=sample: draw images from what a workdir has learnt."""

import numpy as np

from get_jax.evaluation import to_uint8
from get_jax.programs import pictures
from get_jax.programs.build import build_mesh, check_task
from get_jax.programs.decoder import is_latent
from get_jax.programs.generator import ImageMaker, build_generator
from get_jax.programs.scoring import conventions_of
from get_jax.programs.workdir import open_workdir, write_results
from get_jax.training.checkpoints import load_params
from get_jax.training.randomness import purpose_key


def run(config, workdir: str) -> None:
  """Leaves samples/samples.npz (arr_0 uint8 NHWC) and samples/samples.png.

  What each sample was to show is stored as arr_1: classes, drawn from its own
  key, or captions, which are left in samples/samples.txt too. Latents without a
  decoder are stored as they are (float32, NHWC) in samples/latents.npz, and the
  picture shows their first three channels.
  """
  check_task(config)
  folder = open_workdir(workdir, config)
  params = load_params(folder)
  generator = build_generator(config)
  sampling = config.sampling
  maker = ImageMaker(
    generator,
    purpose_key(sampling.seed, "sample"),
    sampling.batch_size,
    build_mesh(config),
  )
  images, chosen = maker.all(params, np.arange(sampling.count))
  names = generator.condition.names(chosen)
  latent = is_latent(config) and generator.decoder is None
  kind = "latents" if latent else "samples"
  offset = conventions_of(config).uint8_offset
  arrays = {"arr_0": images if latent else to_uint8(images, offset)}
  if names is not None:
    arrays["arr_1"] = names
  path = folder / "samples" / f"{kind}.npz"
  path.parent.mkdir(exist_ok=True)
  np.savez(path, **arrays)
  pictures.save_grid(path.with_suffix(".png"), images[:400], names)
  protocol = {
    "count": sampling.count,
    "seed": sampling.seed,
    "weights": "ema",
    "sampler": generator.sampler,
    "steps": generator.steps,
    "evaluations": generator.evaluations,
    "guidance": generator.guidance,
    "decoder": generator.decoder and generator.decoder.name,
    "settings": generator.settings,
  }
  write_results(folder, "sample", protocol)
  picture = path.with_suffix(".png")
  if latent:
    print(
      f"{sampling.count} latents of {config.autoencoder.name}, not decoded for "
      f"lack of autoencoder.weights, in {path}; their first 3 channels in "
      f"{picture}"
    )
  else:
    print(f"{sampling.count} samples in {path} and {picture}")
