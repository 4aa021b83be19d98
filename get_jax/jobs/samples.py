"""Generates samples in shards and merges them into one file."""

import hashlib
import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from get_jax.builders.evaluator import build_conventions
from get_jax.builders.mesh import build_sampling_mesh
from get_jax.evaluation import to_uint8
from get_jax.generation.generator import Generator
from get_jax.generation.grids import save_grid
from get_jax.generation.image_sampler import ImageSampler
from get_jax.storage.shard_reader import ShardReader
from get_jax.storage.shards import Layout, ShardWriter
from get_jax.training.checkpoints import params_digest
from get_jax.training.rng import named_key
from get_jax.training.shard_assignment import assign_shards

FORMAT = "get_jax samples 1"
GRID_SIZE = 400  # samples in the grid, at most


def generate_parts(
  config: ml_collections.ConfigDict,
  folder: pathlib.Path,
  params: Any,
  generator: Generator,
  latent: bool,
  protocol: Mapping[str, Any],
) -> pathlib.Path:
  """Generates the batches that `<folder>/parts-*` lacks.

  Args:
    config: the experiment; `sampling` has count, batch size and seed.
    folder: folder of the samples.
    params: parameters of the generator.
    generator: generates the samples.
    latent: whether to keep float32 values instead of uint8 pixels.
    protocol: how the samples are generated; another protocol has other parts.

  Returns:
    The directory of all batches.

  Raises:
    UsageError: another process writes to the directory.
  """
  sampling = config.sampling
  key = named_key(sampling.seed, "sample")
  offset = build_conventions(config).uint8_offset
  dtype = "float32" if latent else "uint8"
  arrays: dict[str, tuple[str, tuple[int, ...]]] = {
    "image": (dtype, generator.output_shape)
  }
  if generator.conditioning.sample_ids(key, np.arange(1)) is not None:
    arrays["chosen"] = ("int32", ())
  facts = {**protocol, "params": params_digest(params), "uint8_offset": offset}
  layout = Layout(FORMAT, sampling.count, sampling.batch_size, arrays, facts)
  digest = hashlib.sha256(json.dumps(layout.to_json()).encode()).hexdigest()
  directory = folder / f"parts-{digest[:16]}"
  writer = ShardWriter(directory, layout, jax.process_index())
  writer.lock()
  mesh = build_sampling_mesh(config)
  image_sampler = ImageSampler(generator, key, sampling.batch_size, mesh)
  with assign_shards(writer.missing) as shards:
    indices = [np.asarray(layout.shard_range(shard)) for shard in shards]
    samples = image_sampler.sample_shards(params, indices)
    for shard, (images, ids) in zip(shards, samples, strict=True):
      records = {"image": images if latent else to_uint8(images, offset)}
      if ids is not None:
        records["chosen"] = np.asarray(ids, np.int32)
      writer.write(shard, records)
  return writer.directory


def merge_parts(
  parts: pathlib.Path, path: pathlib.Path, generator: Generator
) -> None:
  """Merges all batches into one .npz file, with a grid of the first samples.

  Args:
    parts: directory of the batches; removed at the end.
    path: file to write. The grid has the same name and the suffix .png.
    generator: describes the conditioning of the samples.

  Raises:
    UsageError: a batch is missing.
  """
  hint = "run --mode=sample to make the missing shards"
  reader = ShardReader(parts, FORMAT, hint)
  records = reader.read(np.arange(len(reader)))
  descriptions = generator.conditioning.descriptions(records.get("chosen"))
  arrays: dict[str, Any] = {"arr_0": records["image"]}
  captions = None
  if descriptions is not None:
    arrays["arr_1"] = descriptions
    captions = descriptions[:GRID_SIZE]
  unfinished = path.with_name(f"unfinished-{path.name}")
  np.savez(unfinished, **arrays)
  unfinished.replace(path)
  save_grid(path.with_suffix(".png"), arrays["arr_0"][:GRID_SIZE], captions)
  shutil.rmtree(parts)
