"""Measures the input pipeline: records per second, and the wait of a step.

  python benchmarks/data.py --images=cifar10.zip [--tfds=DIR]

The first table gives records per second of the pipeline, by number of threads
and worker processes, in batches of 128. The sources are random records on disk
in the formats of latents (32x32x4, float16 moments of the image and its mirror
image) and of pairs (32x32x3, uint8), the digits in memory, `--images` (a zip or
folder with `train/<class>/*` of 32 pixels) and CIFAR-10 as prepared by TFDS in
`--tfds`. Workers start before the measurement.

The second table is from a training step of DiT-B/4 on these latents, with the
order of events of the training loop. It gives the share of the time in which
the loop waited for batches and their transfer; the first step is not counted.
"""

import argparse
import dataclasses
import pathlib
import tempfile
import time
from typing import Any

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


def write_latents(folder: pathlib.Path, count: int = 4096) -> Source:
  """Writes random moments of `count` images and their mirror images."""
  layout = latents_layout(
    count, 1024, (32, 32, 8), "float16", 1000, 0.18215, 0.0, True, "", "seeded"
  )
  writer, rng = ShardWriter(folder, layout), np.random.default_rng(0)
  for shard in writer.missing():
    size = len(layout.shard_range(shard))
    moments = rng.standard_normal((size, 2, 32, 32, 8), np.float32)
    labels = rng.integers(1000, size=size, dtype=np.int32)
    writer.write(
      shard, {"moments": moments.astype(np.float16), "label": labels}
    )
  return create_source("latents", path=folder)


def write_pairs(folder: pathlib.Path, count: int = 20_000) -> Source:
  """Writes pairs with random images of CIFAR-10's shape."""
  info = PairsInfo(count, 0, (32, 32, 3), "uint8", 10, "", {}, 5_000)
  writer, rng = PairsWriter(folder, info), np.random.default_rng(0)
  for shard in writer.missing():
    size = len(info.shard_range(shard))
    images = rng.uniform(-1, 1, (size, 32, 32, 3)).astype(np.float32)
    writer.write_pairs(shard, images, rng.integers(10, size=size))
  return PairsSource(folder)


@dataclasses.dataclass(frozen=True)
class Throughput:
  """Records per second.

  Attributes:
    wall: per second of wall time.
    cpu: per second of CPU time of this process.
  """

  wall: float
  cpu: float


def measure_throughput(
  source: Source, threads: int, workers: int, seconds: float
) -> Throughput:
  """Reads batches for a given time.

  Args:
    source: the records.
    threads: reading threads.
    workers: worker processes.
    seconds: wall time of the measurement.
  """
  pipeline = Pipeline(source, BATCH, 0, threads=threads, workers=workers)
  batches = pipeline.batches(0, 1 << 30)
  for _ in range(2 * max(threads, 4 * workers)):  # the prefetched batches
    next(batches)
  count, wall, cpu = 0, time.perf_counter(), time.process_time()
  while time.perf_counter() - wall < seconds:
    next(batches)
    count += BATCH
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  return Throughput(count / wall, count / cpu)


def measure_wait(
  source: Source, batch_size: int, steps: int
) -> dict[str, float]:
  """Measures how long a training step of DiT-B/4 waits for its batch.

  Args:
    source: latents.
    batch_size: B.
    steps: measured steps, without the first one.
  """
  config = dit_b4.get_config()
  config.batch_size = batch_size
  mesh, model = build_mesh(config), build_model(config)
  pipeline = Pipeline(source, batch_size, 0)
  training_step = build_training_step(config, model)
  state = create_state(training_step.init_state, training_step.init_key, mesh)
  state_sharding = jax.tree.map(lambda x: x.sharding, state)
  step = jax.jit(
    training_step.step,
    in_shardings=(state_sharding, batch_sharding(mesh)),
    out_shardings=(state_sharding, None),
    donate_argnums=0,
  )
  batches = pipeline.batches(0, steps + 1)
  waits: list[float] = []
  previous = None
  with jax.set_mesh(mesh):
    for i in range(steps + 1):
      begin = time.perf_counter()
      global_batch = make_global_batch(next(batches), mesh)
      waits.append(time.perf_counter() - begin)
      state, bad_step = step(state, global_batch)
      jax.block_until_ready(previous)
      previous = bad_step
      if i == 0:
        jax.block_until_ready(previous)
        start = time.perf_counter()
    jax.block_until_ready(previous)
  total = time.perf_counter() - start
  return {
    "seconds per step": total / steps,
    "milliseconds waited": 1e3 * sum(waits[1:]) / steps,
    "share waited": sum(waits[1:]) / total,
  }


def main():
  """Prints both tables."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--images", help="zip or folder of CIFAR-10 images")
  parser.add_argument(
    "--tfds", help="data_dir of CIFAR-10, as prepared by TFDS"
  )
  parser.add_argument(
    "--seconds", type=float, default=5.0, help="per measurement"
  )
  parser.add_argument("--batch_size", type=int, default=8, help="of DiT-B/4")
  parser.add_argument("--steps", type=int, default=10, help="of DiT-B/4")
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as directory:
    folder = pathlib.Path(directory)
    latents = write_latents(folder / "latents")
    sources = {
      "latents": latents,
      "pairs": write_pairs(folder / "pairs"),
      "digits": create_source("digits"),
    }
    cifar10: dict[str, Any] = dict(dataset="cifar10", image_size=32)
    if args.images:
      sources["images"] = create_source("dataset", **cifar10, path=args.images)
    if args.tfds:
      sources["tfds"] = create_source("tfds", **cifar10, data_dir=args.tfds)
    titles = [f"{t} threads, {w} workers" for t, w in LOADERS]
    print(
      "| records per second | " + " | ".join(titles) + " | per CPU second |"
    )
    print("| --- |" + " --- |" * (len(LOADERS) + 1))
    for name, source in sources.items():
      results = [
        measure_throughput(source, *loader, args.seconds) for loader in LOADERS
      ]
      cells = " | ".join(f"{r.wall:,.0f}" for r in results)
      # With a single reader; worker processes have CPU time of their own.
      print(f"| {name} | {cells} | {results[0].cpu:,.0f} |", flush=True)
    wait = measure_wait(latents, args.batch_size, args.steps)
  print(f"\nDiT-B/4 on latents, batch {args.batch_size}:")
  for name, value in wait.items():
    print(f"  {name}: {value:.4g}")


if __name__ == "__main__":
  main()
