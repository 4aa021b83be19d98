"""Generates samples in shards and merges them into one file."""

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from get_jax.builders.evaluator import build_conventions
from get_jax.builders.mesh import build_sampling_mesh
from get_jax.errors import UsageError
from get_jax.evaluation import to_uint8
from get_jax.generation.generator import Generator
from get_jax.generation.grids import save_grid
from get_jax.generation.image_sampler import ImageSampler
from get_jax.progress import ProgressBar
from get_jax.storage.npz import StreamedArray, write_npz
from get_jax.storage.paths import Path, atomic_writer
from get_jax.storage.shard_reader import ShardReader
from get_jax.storage.shards import Layout, ShardWriter
from get_jax.training.checkpoints import params_digest
from get_jax.training.preemption import interruptible
from get_jax.training.rng import named_key
from get_jax.training.shard_assignment import assign_shards

FORMAT = "get_jax samples 1"
GRID_SIZE = 400  # samples in the grid, at most
HINT = "delete it if it is damaged; --mode=sample makes the missing shards"
SLOW_BYTES = 2**30  # files from this size on are written with a progress bar


def generate_parts(
  config: ml_collections.ConfigDict,
  folder: Path,
  params: Any,
  generator: Generator,
  latent: bool,
  protocol: Mapping[str, Any],
) -> ShardWriter:
  """Generates the batches that `<folder>/parts-*` lacks.

  Args:
    config: the experiment; `sampling` has count, batch size and seed.
    folder: folder of the samples.
    params: parameters of the generator.
    generator: generates the samples.
    latent: whether to keep float32 values instead of uint8 pixels.
    protocol: how the samples are generated; another protocol has other parts.

  Returns:
    The writer of the directory. That of process 0 has the lock, the others
    have released theirs.

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
  mesh = build_sampling_mesh(config)
  image_sampler = ImageSampler(generator, key, sampling.batch_size, mesh)
  with contextlib.ExitStack() as stack:
    stack.enter_context(writer)
    with assign_shards(writer.missing) as shards:
      indices = [np.asarray(layout.shard_range(shard)) for shard in shards]
      samples = image_sampler.sample_shards(params, indices)
      for shard, (images, ids) in zip(shards, samples, strict=True):
        records = {"image": images if latent else to_uint8(images, offset)}
        if ids is not None:
          records["chosen"] = np.asarray(ids, np.int32)
        writer.write(shard, records)
      if jax.process_index():
        writer.unlock()  # before process 0 continues, and removes the directory
    stack.pop_all()  # The lock outlives this function.
  return writer


def merge_parts(parts: ShardWriter, path: Path, generator: Generator) -> None:
  """Merges all batches into one .npz file, with a grid of the first samples.

  One batch at a time is in memory. The file is complete or absent: if this
  function is interrupted, the batches remain, and the same command continues
  with merging them.

  Args:
    parts: writer of the batches, which are unlocked and removed at the end.
    path: file to write. The grid has the same name and the suffix .png.
    generator: describes the conditioning of the samples.

  Raises:
    UsageError: a batch is missing or damaged, or the file cannot be written.
    Stopped: SIGTERM or SIGINT was received.
  """
  with parts:
    _merge(parts, path, generator)
  parts.directory.rmtree()


def _merge(parts: ShardWriter, path: Path, generator: Generator) -> None:
  # Every batch is verified when it is read.
  reader = ShardReader(parts.directory, FORMAT, HINT, verify=False)
  layout = reader.layout
  dtype, shape = layout.arrays["image"]
  arrays: dict[str, np.ndarray | StreamedArray] = {
    "arr_0": StreamedArray(
      (layout.count, *shape), np.dtype(dtype), _images(reader, path.name)
    )
  }
  descriptions = generator.conditioning.descriptions(_ids(reader))
  if descriptions is not None:
    arrays["arr_1"] = descriptions
  try:
    with atomic_writer(path) as file:
      write_npz(file, arrays)
  except OSError as error:
    raise UsageError(
      f"{path} cannot be written ({error.strerror or error}); the samples are "
      f"kept in {parts.directory}, and the same command continues from there"
    ) from error
  save_grid(
    path.with_suffix(".png"),
    _first_images(reader, GRID_SIZE),
    None if descriptions is None else descriptions[:GRID_SIZE],
  )


def _images(reader: ShardReader, name: str) -> Iterator[np.ndarray]:
  """Yields the images of each batch, with a progress bar for large files."""
  layout = reader.layout
  dtype, shape = layout.arrays["image"]
  size = layout.count * math.prod(shape) * np.dtype(dtype).itemsize
  with ProgressBar(
    total=layout.count,
    desc=f"writing {name}",
    unit="image",
    disable=size < SLOW_BYTES,
  ) as bar:
    for shard in interruptible(range(layout.num_shards), f"writing {name}"):
      images = reader.read_array(shard, "image")
      yield images
      bar.update(len(images))


def _ids(reader: ShardReader) -> np.ndarray | None:
  """Returns the condition IDs of all samples; None if unconditional."""
  if "chosen" not in reader.layout.arrays:
    return None
  shards = range(reader.layout.num_shards)
  return np.concatenate([reader.read_array(s, "chosen") for s in shards])


def _first_images(reader: ShardReader, count: int) -> np.ndarray:
  """Returns the first `count` images, or all if there are fewer."""
  layout, images = reader.layout, []
  for start in range(0, min(count, layout.count), layout.shard_size):
    part = reader.read_array(start // layout.shard_size, "image")
    images.append(part[: count - start])
  return np.concatenate(images)
