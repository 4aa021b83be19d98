"""Measures how fast image files are decoded, beside torchvision.

  python benchmarks/images.py --cifar10=cifar10.zip \
    --baseline=PATH --torch=/venv/bin/python

reads 2,000 JPEG files of a zip of CIFAR-10, and as many of 256 pixels that it
makes, from class folders: with this version; with the version in another clone
of the repository; and with torchvision's `ImageFolder` under another Python.
Each is a process that decodes all files once per round, in one thread; the
rounds alternate. The processes are started several times: their speed differs
by up to 25% from start to start. Printed are images per CPU second in the
fastest round, which depend less on other load than wall time does.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time
import zipfile
from typing import Any

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
COUNT = 2000
READERS = ("this version", "baseline", "torchvision")


def write_cifar10(archive: pathlib.Path, folder: pathlib.Path) -> None:
  """Extracts the first files of each class of the training set."""
  with zipfile.ZipFile(archive) as file:
    names = sorted(n for n in file.namelist() if "train/" in n and "." in n)
    for name in names[:: len(names) // COUNT][:COUNT]:
      path = folder / pathlib.Path(name).parent.name / pathlib.Path(name).name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(file.read(name))


def write_large(folder: pathlib.Path, size: int = 256) -> None:
  """Writes JPEG files of smooth seeded noise, of the size of photographs'."""
  rng = np.random.default_rng(0)
  for i in range(COUNT):
    small = rng.integers(0, 256, (32, 32, 3), np.uint8)
    image = Image.fromarray(small).resize(
      (size, size), Image.Resampling.BICUBIC
    )
    path = folder / f"class{i % 10}" / f"{i}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)


def work(reader: str, folder: str, size: int) -> None:
  """Decodes all files for each line on stdin, and prints the CPU seconds."""
  if reader == "torchvision":
    from torchvision.datasets import ImageFolder

    data = ImageFolder(folder, np.asarray)

    def read(index: int) -> np.ndarray:
      return data[index][0]

  else:
    from get_jax.data import create_source

    # An older version of the source may be the one that is measured.
    source: Any = create_source("images", path=folder, image_size=size)
    data, read = source, source.pixels
  shape = read(0).shape
  if shape != (size, size, 3) or len(data) != COUNT:
    raise ValueError(f"{len(data)} images of shape {shape}")
  print("ready", flush=True)
  for _ in sys.stdin:
    start = time.process_time()
    for index in range(COUNT):
      read(index)
    print(time.process_time() - start, flush=True)


def measure(
  commands: dict[str, list[str]], folder: pathlib.Path, size: int, rounds: int
) -> dict[str, float]:
  """Returns images per CPU second of each reader.

  Args:
    commands: start of the command line of each reader: Python, and where
      `get_jax` is imported from.
    folder: the image files.
    size: their side.
    rounds: number of measurements of each reader.
  """
  processes = {}
  for name, (python, root) in commands.items():
    processes[name] = subprocess.Popen(
      [python, __file__, "--work", name, str(folder), str(size)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env={"PYTHONPATH": root, "JAX_PLATFORMS": "cpu"},
    )
  seconds: dict[str, list[float]] = {name: [] for name in processes}
  for process in processes.values():
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
      raise RuntimeError("a reader failed")
  for i in range(rounds):
    # No reader is always the first one.
    first = i % len(processes)
    names = list(processes)
    for name in names[first:] + names[:first]:
      process = processes[name]
      assert process.stdin is not None and process.stdout is not None
      process.stdin.write("\n")
      process.stdin.flush()
      seconds[name].append(float(process.stdout.readline()))
  for process in processes.values():
    process.communicate()
  return {name: COUNT / min(s) for name, s in seconds.items()}


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
  parser.add_argument("--cifar10", type=pathlib.Path, help="a zip of images")
  parser.add_argument("--baseline", help="another clone of the repository")
  parser.add_argument("--torch", help="a Python that has torchvision")
  parser.add_argument("--starts", type=int, default=5)
  parser.add_argument("--rounds", type=int, default=5)
  args = parser.parse_args()
  if args.work:
    reader, folder, size = args.work
    work(reader, folder, int(size))
    return
  commands = {"this version": [sys.executable, str(ROOT)]}
  if args.baseline:
    commands["baseline"] = [sys.executable, args.baseline]
  if args.torch:
    commands["torchvision"] = [args.torch, ""]
  print(f"| images per CPU second | {' | '.join(commands)} |")
  print("| --- |" + " --- |" * len(commands))
  with tempfile.TemporaryDirectory() as directory:
    folder = pathlib.Path(directory)
    write_large(folder / "large")
    sets = {"JPEG, 256 pixels": (folder / "large", 256)}
    if args.cifar10:
      write_cifar10(args.cifar10, folder / "cifar10")
      sets["JPEG, 32 pixels"] = (folder / "cifar10", 32)
    for title, (path, size) in sets.items():
      runs = [
        measure(commands, path, size, args.rounds) for _ in range(args.starts)
      ]
      best = [max(run[name] for run in runs) for name in commands]
      cells = " | ".join(f"{speed:,.0f}" for speed in best)
      print(f"| {title} | {cells} |", flush=True)


if __name__ == "__main__":
  main()
