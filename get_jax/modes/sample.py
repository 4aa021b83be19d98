"""--mode=sample: generates images with the model of a workdir."""

import jax
import ml_collections

from get_jax.builders.decoder import is_latent
from get_jax.builders.generator import build_generator
from get_jax.builders.tasks import check_task
from get_jax.jobs.initial_params import load_params_or_init
from get_jax.jobs.report_page import write_page
from get_jax.jobs.samples import generate_parts, merge_parts
from get_jax.progress import print_ending
from get_jax.training.preemption import independent_progress
from get_jax.training.workdir import open_workdir, write_results


def run(config: ml_collections.ConfigDict, workdir: str) -> None:
  """Writes samples/samples.npz (arr_0: uint8, NHWC) and samples/samples.png.

  The conditioning of the samples is stored as arr_1: class labels, sampled with
  the key of each sample, or captions, which are also written to
  samples/samples.txt. Latents without a decoder are stored as they are
  (float32, NHWC) in samples/latents.npz, and the grid shows their first three
  channels.

  Batches are kept in samples/parts-* until all are complete, so that a stopped
  run continues with the missing ones.

  A workdir without checkpoints samples with the parameters of
  `config.init_from`, adapted to the network, if it is not empty.

  Args:
    config: the experiment; `sampling` has count, batch size and seed.
    workdir: folder of the run.
  """
  check_task(config)
  folder = open_workdir(workdir, config)
  params, weights = load_params_or_init(config, folder)
  generator = build_generator(config)
  latent = is_latent(config) and generator.decoder is None
  sampling = config.sampling
  protocol = {
    "count": sampling.count,
    "seed": sampling.seed,
    "weights": weights,
    "sampler": generator.sampler,
    "steps": generator.steps,
    "evaluations": generator.nfe,
    "guidance": generator.guidance,
    "decoder": generator.decoder and generator.decoder.name,
    "settings": generator.settings,
  }
  parts = generate_parts(
    config, folder / "samples", params, generator, latent, protocol
  )
  path = folder / "samples" / f"{'latents' if latent else 'samples'}.npz"
  with independent_progress():
    if jax.process_index() == 0:
      merge_parts(parts, path, generator)
  write_results(folder, "sample", protocol)
  write_page(folder)
  grid = path.with_suffix(".png")
  if latent:
    print_ending(
      "Finished",
      f"{sampling.count} latents of {config.autoencoder.name} in {path}, not "
      f"decoded because autoencoder.weights is empty; their first 3 channels "
      f"in {grid}",
    )
  else:
    print_ending("Finished", f"{sampling.count} samples in {path} and {grid}")
