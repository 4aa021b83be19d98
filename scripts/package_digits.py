"""Puts the networks of the digits job into the package.

  bash scripts/digits.sh runs/get_digits
  python scripts/package_digits.py runs/get_digits

Writes the averaged parameters of the GET and of its teacher as float16 to
get_jax/weights/files, from where `Pipeline.load("get-digits")` and
`Pipeline.load("dit-digits")` read them. The seed is that of the config, 0.
"""

import argparse
import pathlib

from get_jax.training.checkpoints import latest_step, load_params
from get_jax.weights.packaged import FOLDER, save_packaged

ROOT = pathlib.Path(__file__).resolve().parents[1]


def main() -> None:
  """Reads the workdir of the digits job and writes both files."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("workdir", type=pathlib.Path, help="of scripts/digits.sh")
  workdir = parser.parse_args().workdir
  for name, folder in (
    ("get-digits", workdir),
    ("dit-digits", workdir / "teacher"),
  ):
    path = FOLDER / f"{name}.safetensors"
    save_packaged(
      path,
      load_params(folder),
      made_by=f"bash scripts/digits.sh, step {latest_step(folder)}, seed 0",
    )
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
  main()
