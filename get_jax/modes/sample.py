"""--mode=sample: draw images from what a workdir has learnt."""

import hashlib
import json
import pathlib
import shutil

import jax
import numpy as np

from get_jax.builders.decoder import is_latent
from get_jax.builders.evaluator import build_conventions
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_sampling_mesh
from get_jax.builders.sections import check_task
from get_jax.evaluation import to_uint8
from get_jax.generation.generator import Generator
from get_jax.generation.grids import save_grid
from get_jax.generation.image_sampler import ImageSampler
from get_jax.storage.shards import Layout, ShardReader, ShardWriter
from get_jax.training.checkpoints import load_params, params_digest
from get_jax.training.rng import named_key
from get_jax.training.shard_assignment import assign_shards
from get_jax.training.workdir import open_workdir, write_results

FORMAT = "get_jax samples 1"


def run(config, workdir: str) -> None:
  """Leaves samples/samples.npz (arr_0 uint8 NHWC) and samples/samples.png.

  What each sample was to show is stored as arr_1: classes, drawn from its own
  key, or captions, which are left in samples/samples.txt too. Latents without a
  decoder are stored as they are (float32, NHWC) in samples/latents.npz, and the
  picture shows their first three channels.

  Batches lie in samples/parts-* until all are there, so that whoever is stopped
  goes on from there.
  """
  check_task(config)
  folder = open_workdir(workdir, config)
  params, generator = load_params(folder), build_generator(config)
  latent = is_latent(config) and generator.decoder is None
  sampling = config.sampling
  protocol = {
    "count": sampling.count,
    "seed": sampling.seed,
    "weights": "ema",
    "sampler": generator.sampler,
    "steps": generator.steps,
    "evaluations": generator.nfe,
    "guidance": generator.guidance,
    "decoder": generator.decoder and generator.decoder.name,
    "settings": generator.settings,
  }
  parts = _draw(config, folder / "samples", params, generator, latent, protocol)
  path = folder / "samples" / f"{'latents' if latent else 'samples'}.npz"
  if jax.process_index() == 0:
    _join(parts, path, generator)
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


def _draw(
  config, folder, params, generator: Generator, latent: bool, protocol: dict
) -> pathlib.Path:
  """Makes the batches that are missing; returns their directory."""
  sampling = config.sampling
  key = named_key(sampling.seed, "sample")
  offset = build_conventions(config).uint8_offset
  kind = "float32" if latent else "uint8"
  arrays = {"image": (kind, generator.output_shape)}
  if generator.conditioning.sample_ids(key, np.arange(1)) is not None:
    arrays["chosen"] = ("int32", ())
  facts = {**protocol, "params": params_digest(params), "uint8_offset": offset}
  layout = Layout(FORMAT, sampling.count, sampling.batch_size, arrays, facts)
  code = hashlib.sha256(json.dumps(layout.to_json()).encode()).hexdigest()[:16]
  writer = ShardWriter(folder / f"parts-{code}", layout, jax.process_index())
  writer.lock()
  mesh = build_sampling_mesh(config)
  image_sampler = ImageSampler(generator, key, sampling.batch_size, mesh)
  with assign_shards(writer.missing) as shards:
    indices = [np.asarray(layout.shard_range(shard)) for shard in shards]
    made = image_sampler.sample_shards(params, indices)
    for shard, (images, chosen) in zip(shards, made, strict=True):
      found = {"image": images if latent else to_uint8(images, offset)}
      if chosen is not None:
        found["chosen"] = np.asarray(chosen, np.int32)
      writer.write(shard, found)
  return writer.directory


def _join(parts: pathlib.Path, path: pathlib.Path, generator: Generator):
  """One file of all batches, and a picture of the first."""
  remake = "run --mode=sample to make what is missing"
  reader = ShardReader(parts, FORMAT, remake)
  records = reader.read(np.arange(len(reader)))
  names = generator.conditioning.descriptions(records.get("chosen"))
  arrays = {"arr_0": records["image"]}
  if names is not None:
    arrays["arr_1"] = names
  unfinished = path.with_name(f"unfinished-{path.name}")
  np.savez(unfinished, **arrays)
  unfinished.replace(path)
  shown = None if names is None else names[:400]
  save_grid(path.with_suffix(".png"), arrays["arr_0"][:400], shown)
  shutil.rmtree(parts)
