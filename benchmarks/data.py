"""How fast records come, and how long a training step waits for them.

  python benchmarks/data.py --images=cifar10.zip [--tfds=DIR]

The first table is records per second through the pipeline, by threads and
worker processes, in batches of 128: seeded records on disk in the formats of
latents (32x32x4, float16 moments of image and mirror) and of pairs (32x32x3,
uint8), the digits in memory, `--images` (a zip or folder with `train/<class>/*`
of 32 pixels) and CIFAR-10 as TFDS prepared it in `--tfds`. Workers have been
started before the clock.

The second is a real training step of DiT-B/4 on those latents, in the order of
events of the training loop: which share of the time the loop waited for
batches and their transfer, the first step aside.
"""

import argparse
import dataclasses
import pathlib
import tempfile
import time

import jax
import numpy as np

from configs import dit_b4
from get_jax.builders.mesh import build_mesh
from get_jax.builders.model import build_model
from get_jax.builders.training_step import build_training_step
from get_jax.data import Pipeline, Source, create_source
from get_jax.data.latents import latents_layout
from get_jax.distillation.pairs import PairsInfo, PairsSource, PairsWriter
from get_jax.storage.shards import ShardWriter
from get_jax.training.sharding import batch_sharding, make_global_batch
from get_jax.training.state import create_state

BATCH = 128
LOADERS = ((1, 0), (4, 0), (4, 2))  # threads, workers


def make_latents(folder: pathlib.Path, count: int = 4096) -> Source:
  """Seeded moments of `count` images and their mirrors."""
  layout = latents_layout(
    count, 1024, (32, 32, 8), "float16", 1000, 0.18215, 0.0, True, "", "seeded"
  )
  writer, rng = ShardWriter(folder, layout), np.random.default_rng(0)
  for shard in writer.missing():
    size = len(layout.shard_range(shard))
    moments = rng.standard_normal((size, 2, 32, 32, 8), np.float32)
    labels = rng.integers(1000, size=size, dtype=np.int32)
    arrays = {"moments": moments.astype(np.float16), "label": labels}
    writer.write(shard, arrays)
  return create_source("latents", path=folder)


def make_pairs(folder: pathlib.Path, count: int = 20_000) -> Source:
  """Seeded images as pairs of CIFAR-10's shape."""
  info = PairsInfo(count, 0, (32, 32, 3), "uint8", 10, "", {}, 5_000)
  writer, rng = PairsWriter(folder, info), np.random.default_rng(0)
  for shard in writer.missing():
    size = len(info.shard_range(shard))
    images = rng.uniform(-1, 1, (size, 32, 32, 3)).astype(np.float32)
    writer.write_pairs(shard, images, rng.integers(10, size=size))
  return PairsSource(folder)


@dataclasses.dataclass(frozen=True)
class Rate:
  """Records per second, by the clock and by this process's CPU time."""

  wall: float
  cpu: float


def rate(source: Source, threads: int, workers: int, seconds: float) -> Rate:
  """How fast batches come for so many seconds."""
  pipeline = Pipeline(source, BATCH, 0, threads=threads, workers=workers)
  batches = pipeline.batches(0, 1 << 30)
  for _ in range(2 * max(threads, 4 * workers)):  # what is read ahead
    next(batches)
  count, wall, cpu = 0, time.perf_counter(), time.process_time()
  while time.perf_counter() - wall < seconds:
    next(batches)
    count += BATCH
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  return Rate(count / wall, count / cpu)


def waiting(source: Source, batch_size: int, steps: int) -> dict[str, float]:
  """Share of a training step of DiT-B/4 that is spent on its batch."""
  config = dit_b4.get_config()
  config.batch_size = batch_size
  mesh, model = build_mesh(config), build_model(config)
  pipeline = Pipeline(source, batch_size, 0)
  batch = jax.eval_shape(lambda: pipeline.batch(0))
  learner = build_training_step(config, model, batch)
  state = create_state(learner.init_state, learner.init_key, mesh)
  placing = jax.tree.map(lambda x: x.sharding, state)
  step = jax.jit(
    learner.step,
    in_shardings=(placing, batch_sharding(mesh)),
    out_shardings=(placing, None),
    donate_argnums=0,
  )
  batches = pipeline.batches(0, steps + 1)
  waits, previous = [], None
  with jax.set_mesh(mesh):
    for i in range(steps + 1):
      begin = time.perf_counter()
      placed = make_global_batch(next(batches), mesh)
      waits.append(time.perf_counter() - begin)
      state, bad = step(state, placed)
      if previous is not None:
        previous.block_until_ready()
      previous = bad
      if i == 0:
        previous.block_until_ready()
        start = time.perf_counter()
    previous.block_until_ready()
  total = time.perf_counter() - start
  return {
    "seconds per step": total / steps,
    "milliseconds waited": 1e3 * sum(waits[1:]) / steps,
    "share waited": sum(waits[1:]) / total,
  }


def main():
  """Prints both tables."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--images", help="zip or folder of CIFAR-10's images")
  parser.add_argument("--tfds", help="data_dir of a prepared CIFAR-10")
  parser.add_argument("--seconds", type=float, default=5.0, help="per number")
  parser.add_argument("--batch_size", type=int, default=8, help="of DiT-B/4")
  parser.add_argument("--steps", type=int, default=10, help="of DiT-B/4")
  given = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    latents = make_latents(folder / "latents")
    sources = {
      "latents": latents,
      "pairs": make_pairs(folder / "pairs"),
      "digits": create_source("digits"),
    }
    named = dict(dataset="cifar10", image_size=32)
    if given.images:
      sources["images"] = create_source("dataset", **named, path=given.images)
    if given.tfds:
      sources["tfds"] = create_source("tfds", **named, data_dir=given.tfds)
    titles = [f"{t} threads, {w} workers" for t, w in LOADERS]
    print("| records a second | " + " | ".join(titles) + " | a CPU second |")
    print("| --- |" + " --- |" * (len(LOADERS) + 1))
    for name, source in sources.items():
      rates = [rate(source, *loader, given.seconds) for loader in LOADERS]
      cells = " | ".join(f"{r.wall:,.0f}" for r in rates)
      # Of the one reader: the others' CPU time is elsewhere too.
      print(f"| {name} | {cells} | {rates[0].cpu:,.0f} |", flush=True)
    found = waiting(latents, given.batch_size, given.steps)
  print(f"\nDiT-B/4 on latents, batch {given.batch_size}:")
  for name, value in found.items():
    print(f"  {name}: {value:.4g}")


if __name__ == "__main__":
  main()
