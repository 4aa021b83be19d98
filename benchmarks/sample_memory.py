"""Peak memory of `--mode=sample` at several numbers of images.

  python benchmarks/sample_memory.py 1000 10000

trains a small DiT of 64x64 pixels for one step, samples each number of images
in a process of its own, and prints the peak resident size of that process and
the size of its samples.npz. The peak should not depend on the number.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

from tqdm import tqdm

ROOT = pathlib.Path(__file__).parents[1]
SETTINGS = {
  "data.name": "synthetic",
  "data.image_size": 64,
  "data.channels": 3,
  "data.num_classes": 10,
  "data.size": 64,
  "model.image_size": 64,
  "model.in_channels": 3,
  "model.patch_size": 16,
  "model.hidden_size": 32,
  "model.num_heads": 2,
  "model.depth": 1,
  "sampler.num_steps": 2,
  "sampling.batch_size": 100,
  "batch_size": 16,
  "num_steps": 1,
}


def run_main(workdir: pathlib.Path, mode: str, count: int) -> int:
  """Runs main.py and returns its peak resident size in bytes.

  Args:
    workdir: folder of the run.
    mode: value of --mode.
    count: number of samples.

  Raises:
    RuntimeError: the process failed.
  """
  settings = {**SETTINGS, "sampling.count": count}
  process = subprocess.Popen(
    [
      sys.executable,
      "main.py",
      "--config=configs/dit_digits.py",
      f"--workdir={workdir}",
      f"--mode={mode}",
      *(f"--config.{key}={value}" for key, value in settings.items()),
    ],
    cwd=ROOT,
    # The allocator keeps tens of MiB in the arenas of XLA's threads otherwise.
    env={**os.environ, "JAX_PLATFORMS": "cpu", "MALLOC_ARENA_MAX": "1"},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  _, status, usage = os.wait4(process.pid, 0)
  process.returncode = os.waitstatus_to_exitcode(status)
  if process.returncode:
    raise RuntimeError(f"--mode={mode} exited with {process.returncode}")
  return 1024 * usage.ru_maxrss


def main() -> None:
  """Prints one line per number of images."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("counts", nargs="*", type=int, default=[1_000, 10_000])
  counts = parser.parse_args().counts
  with tempfile.TemporaryDirectory() as folder:
    workdir = pathlib.Path(folder)
    run_main(workdir, "train", counts[0])
    for count in tqdm(counts, desc="sampling", unit="run"):
      peak = run_main(workdir, "sample", count)
      size = (workdir / "samples" / "samples.npz").stat().st_size
      tqdm.write(
        f"{count:,} images: peak {peak / 2**20:.0f} MiB, samples.npz "
        f"{size / 2**20:.0f} MiB"
      )


if __name__ == "__main__":
  main()
