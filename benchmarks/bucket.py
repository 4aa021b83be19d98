"""Measures reading from a bucket: cold, warm, and against a download.

  python benchmarks/bucket.py

serves a bucket on loopback in another process, which waits 20 ms before every
answer (`tests/bucket_server.py`), and puts data sets into it: JPEG images of
256 pixels in tar files, in a zip and in a folder, and latents in shards. For
each, these are the images per second of one epoch in batches of 128, in the
order of training:

- local: from a folder on disk;
- download: only the download of all files to disk, one after the other;
- download, local: the epoch after that download;
- cold: from the bucket, with an empty cache;
- warm: again, with that cache, in a new source.

Opening the source is part of an epoch. Latents are opened with their checksums
compared. In brackets are images per CPU second of this process. Of some
repetitions the best counts, because other load only slows a machine down.
"""

import argparse
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from get_jax.data import Pipeline, create_source
from get_jax.data.latents import latents_layout
from get_jax.storage import cache
from get_jax.storage.buckets import filesystem
from get_jax.storage.shards import ShardWriter

ROOT = pathlib.Path(__file__).parents[1]
BATCH = 128
SHARD = 1000  # images per tar file, latents per shard


def encode_images(count: int, size: int = 256) -> list[bytes]:
  """Returns JPEG files of smooth seeded noise, of the size of photographs'."""
  rng, files = np.random.default_rng(0), []
  for _ in range(count):
    small = rng.integers(0, 256, (32, 32, 3), np.uint8)
    image = Image.fromarray(small).resize((size, size))
    file = io.BytesIO()
    image.save(file, "jpeg", quality=90)
    files.append(file.getvalue())
  return files


def write_tars(folder: pathlib.Path, images: list[bytes]) -> dict[str, Any]:
  """Writes WebDataset tar files; returns the settings of their source."""
  for start in range(0, len(images), SHARD):
    with tarfile.open(folder / f"{start:06d}.tar", "w") as archive:
      for i, content in enumerate(images[start : start + SHARD], start):
        for name, part in (
          (f"{i}.jpg", content),
          (f"{i}.cls", b"%d" % (i % 9)),
        ):
          info = tarfile.TarInfo(name)
          info.size = len(part)
          archive.addfile(info, io.BytesIO(part))
  return dict(name="webdataset", image_size=256)


def write_zip(folder: pathlib.Path, images: list[bytes]) -> dict[str, Any]:
  """Writes a zip of class folders; returns the settings of its source."""
  with zipfile.ZipFile(folder / "images.zip", "w") as archive:
    for i, content in enumerate(images):
      archive.writestr(f"{i % 9}/{i}.jpg", content)
  return dict(name="images", image_size=256, file="images.zip")


def write_folder(folder: pathlib.Path, images: list[bytes]) -> dict[str, Any]:
  """Writes class folders; returns the settings of their source."""
  for i, content in enumerate(images):
    path = folder / f"{i % 9}" / f"{i}.jpg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
  return dict(name="images", image_size=256)


def write_latents(folder: pathlib.Path, images: list[bytes]) -> dict[str, Any]:
  """Writes as many random latents of 256 pixels, with mirror images."""
  layout = latents_layout(
    len(images), SHARD, (32, 32, 8), "float16", 9, 0.18, 0.0, True, "", "seeded"
  )
  writer, rng = ShardWriter(folder, layout), np.random.default_rng(0)
  for shard in writer.missing():
    count = len(layout.shard_range(shard))
    moments = rng.standard_normal((count, 2, 32, 32, 8), np.float32)
    labels = rng.integers(9, size=count, dtype=np.int32)
    writer.write(
      shard, {"moments": moments.astype(np.float16), "label": labels}
    )
  return dict(name="latents")


KINDS: dict[str, Callable[..., dict[str, Any]]] = {
  "tar files": write_tars,
  "zip": write_zip,
  "folder": write_folder,
  "latents": write_latents,
}


class Seconds(NamedTuple):
  """Wall time and CPU time of this process."""

  wall: float
  cpu: float


def seconds_of(action: Callable[[], object]) -> Seconds:
  """Returns the time of a call."""
  wall, cpu = time.perf_counter(), time.process_time()
  action()
  return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def read_epoch(path: str, settings: dict[str, Any]) -> None:
  """Opens a source and reads every image once."""
  settings = dict(settings)
  file = settings.pop("file", "")
  source = create_source(path=f"{path}/{file}" if file else path, **settings)
  steps = -(-len(source) // BATCH)
  for _ in Pipeline(source, BATCH, 0).batches(0, steps):
    pass


def measure(
  folder: pathlib.Path, url: str, settings: dict[str, Any], work: pathlib.Path
) -> dict[str, Seconds]:
  """Returns the time of each way to read a data set once."""
  store = filesystem(url)
  target = work / "download"

  def download() -> None:
    for name in store.find(url):
      path = target / name.partition(url.partition("://")[2] + "/")[2]
      path.parent.mkdir(parents=True, exist_ok=True)
      store.get_file(name, str(path))

  cache.configure(work / "cache")
  read_epoch(str(folder), settings)  # The first one also imports modules.
  results = {"local": seconds_of(lambda: read_epoch(str(folder), settings))}
  results["download"] = seconds_of(download)
  epoch = seconds_of(lambda: read_epoch(str(target), settings))
  results["download, local"] = Seconds(
    *(x + y for x, y in zip(results["download"], epoch, strict=True))
  )
  for kind in ("cold", "warm"):
    results[kind] = seconds_of(lambda: read_epoch(url, settings))
    cache.configure(work / "cache")
  shutil.rmtree(work)
  return results


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--count", type=int, default=4000, help="images")
  parser.add_argument("--latency", type=float, default=0.02, help="seconds")
  parser.add_argument("--repeats", type=int, default=3, help="the best counts")
  parser.add_argument("kinds", nargs="*", default=list(KINDS))
  args = parser.parse_args()
  command = [sys.executable, "-m", "tests.bucket_server"]
  server = subprocess.Popen(
    [*command, f"--latency={args.latency}"], stdout=subprocess.PIPE, cwd=ROOT
  )
  assert server.stdout is not None
  try:
    for line in iter(server.stdout.readline, b""):
      name, _, value = line.decode().strip().partition("=")
      os.environ[name.removeprefix("export ")] = value
      if name.endswith("no_proxy"):  # the last one
        break
    images = encode_images(args.count)
    for number, kind in enumerate(args.kinds):
      with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary, "data")
        folder.mkdir()
        settings = KINDS[kind](folder, images)
        url = f"gs://test-bucket/{kind.replace(' ', '-')}"
        filesystem(url).put(f"{folder}/", f"{url}/", recursive=True)
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        work = pathlib.Path(temporary, "work")
        runs = [
          measure(folder, url, settings, work) for _ in range(args.repeats)
        ]
      seconds = {
        name: Seconds(*map(min, zip(*(run[name] for run in runs), strict=True)))
        for name in runs[0]
      }
      if not number:
        print(f"| images per second | MiB | {' | '.join(seconds)} |")
        print("| --- |" + " --- |" * (len(seconds) + 1))
      cells = " | ".join(
        f"{args.count / s.wall:,.0f} ({args.count / s.cpu:,.0f})"
        for s in seconds.values()
      )
      print(f"| {kind} | {size / 2**20:.0f} | {cells} |", flush=True)
  finally:
    server.terminate()
    server.wait()


if __name__ == "__main__":
  main()
