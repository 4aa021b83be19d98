"""Costs against sizes, which should grow linearly or not at all.

"start-up" is the time in which a directory of pairs is opened, against its
number of shards. "restore" is the time in which a training state is read,
against its size. "sampling" is the time of a batch of eight digits for each
device, on virtual devices that share the cores: GET in one call, and its
teacher with 18 steps, which makes the pairs. The cost of an image should not
depend on the number of devices.
"""

import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np
import optax
import tables
from networks import random_params
from timing import Cases, Row, Scale

from configs import get_digits
from get_jax.builders.generator import build_generator
from get_jax.builders.mesh import build_mesh
from get_jax.builders.model import build_model
from get_jax.distillation.pairs import PairsInfo, PairsSource
from get_jax.generation.image_sampler import ImageSampler
from get_jax.models import create_model
from get_jax.storage.shards import ShardWriter
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.state import make_init_state

IMAGES_PER_DEVICE = 8


def cases(scale: Scale) -> Cases:
  """Returns a case for start-up, restore and each number of devices."""
  devices = scale.select(paper=(), small=(1, 2, 4, 8, 16, 32, 64), tiny=(2,))
  measured: Cases = {
    "start-up": functools.partial(startup_rows, scale),
    "restore": functools.partial(restore_rows, scale),
  }
  for count in devices:
    measured[f"sampling, {count} devices"] = functools.partial(
      sampling_rows, count, scale
    )
  return measured


def _row(what: str, size: str, seconds: float, units: float, unit: str) -> Row:
  return {
    "what": what,
    "size": size,
    "ms": 1e3 * seconds,
    "us a unit": 1e6 * seconds / units,
    "unit": unit,
  }


def startup_rows(scale: Scale) -> list[Row]:
  """Returns one row for each number of shards, of one pair each."""
  counts = scale.select(
    paper=(10, 100), small=(10, 100, 1_000, 10_000), tiny=(10,)
  )
  rng = np.random.default_rng(0)
  label = np.zeros(1, np.int32)
  rows = []
  for count in counts:
    info = PairsInfo(count, 0, (8, 8, 1), "uint8", 10, "teacher", {}, 1)
    with tempfile.TemporaryDirectory() as folder:
      with ShardWriter(folder, info.layout) as writer:
        for shard in range(count):
          image = rng.integers(0, 256, (1, 8, 8, 1), np.uint8)
          writer.write(shard, {"image": image, "label": label})
      open_pairs = functools.partial(PairsSource, folder)
      seconds = _median_seconds(open_pairs, min(scale.repeats, 3))
    rows.append(_row("start-up", f"{count:,} shards", seconds, count, "shard"))
  return rows


def restore_rows(scale: Scale) -> list[Row]:
  """Returns one row for each depth of a network."""
  depths = scale.select(paper=(7, 14, 28), small=(1, 2, 4, 8), tiny=(1,))
  return [_restore_row(depth, scale) for depth in depths]


def _restore_row(depth: int, scale: Scale) -> Row:
  name, fields = scale.select(
    paper=("DiT-XL/2", {}),
    small=("DiT-S/2", {}),
    tiny=("DiT-S/8", dict(hidden_size=32, num_heads=2)),
  )
  model = create_model(name, depth=depth, **fields)
  params = jax.device_put(random_params(model))
  init = make_init_state(lambda _: params, (), optax.adamw(1e-4))
  state = jax.block_until_ready(jax.jit(init)(jax.random.key(0)))
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 2**20
  with tempfile.TemporaryDirectory() as folder:
    with Checkpoints(pathlib.Path(folder), keep=1) as checkpoints:
      checkpoints.save(state)
      checkpoints.wait()
      restore = functools.partial(checkpoints.restore, state)
      seconds = _median_seconds(restore, scale.repeats)
  return _row("restore", f"{size:.0f} MiB", seconds, size, "MiB")


def _median_seconds(function: Callable[[], object], repeats: int) -> float:
  seconds = []
  for _ in range(repeats + 1):
    start = time.perf_counter()
    jax.block_until_ready(function())
    seconds.append(time.perf_counter() - start)
  return statistics.median(seconds[1:])


def sampling_rows(devices: int, scale: Scale) -> list[Row]:
  """Returns the rows of a process with this number of virtual devices."""
  flags = os.environ.get("XLA_FLAGS", "")
  flags += f" --xla_force_host_platform_device_count={devices}"
  done = subprocess.run(
    [sys.executable, __file__, str(scale.repeats)],
    env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(tables.ROOT)},
    stdout=subprocess.PIPE,
    check=True,
  )
  rows: list[Row] = json.loads(done.stdout)
  return rows


def measure_sampling(repeats: int) -> list[Row]:
  """Samples on all devices of this process; times are CPU seconds."""
  config = get_digits.get_config()
  mesh = build_mesh(config)
  count = IMAGES_PER_DEVICE * mesh.size
  rows = []
  for what, part in (("sampling", config), ("pairs", config.teacher)):
    sampler = ImageSampler(
      build_generator(part), jax.random.key(0), count, mesh
    )
    params = sampler.replicate_params(random_params(build_model(part)))
    seconds = []
    for i in range(repeats + 1):
      indices = np.arange(i * count, (i + 1) * count)
      start = time.process_time()
      sampler.sample_batch(params, indices)
      seconds.append(time.process_time() - start)
    size = f"{mesh.size} devices, {count} images"
    row = _row(what, size, statistics.median(seconds[1:]), count, "image")
    row["first, ms"] = 1e3 * seconds[0]
    rows.append(row)
  return rows


if __name__ == "__main__":
  print(json.dumps(measure_sampling(int(sys.argv[1]))))
