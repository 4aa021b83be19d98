"""Stores a tiny workdir of this version, for tests/faults/test_versions.py.

  python -m tests.faults.make_workdir

Run it once for each release. The folder has a checkpoint, metrics, pairs and
results, and a digest of the parameters.
"""

import json
import pathlib
import shutil
import tempfile

import get_jax
from get_jax.jobs.pairs import make_pairs
from get_jax.modes import train
from get_jax.storage.paths import as_path
from get_jax.training.checkpoints import load_params, params_digest
from tests.helpers import tiny_config, tiny_job

WORKDIRS = pathlib.Path(__file__).with_name("workdirs")
SMALL = dict(model__hidden_size=8, model__num_heads=1, model__depth=1)


def config():
  return tiny_config(**SMALL, num_steps=2, log_every=1, checkpoint_every=2)


def pairs_config():
  small = {f"teacher__{key}": value for key, value in SMALL.items()}
  return tiny_job(
    **small,
    pairs__count=6,
    pairs__shard_size=4,
    teacher__sampling__batch_size=4,
  )


def main() -> None:
  target = WORKDIRS / get_jax.__version__
  with tempfile.TemporaryDirectory() as folder:
    workdir = pathlib.Path(folder, "workdir")
    train.run(config(), str(workdir))
    pairs = pairs_config()
    pairs.pairs.teacher_workdir = str(workdir)
    make_pairs(pairs, as_path(folder) / "distilled")
    shutil.move(pathlib.Path(folder, "distilled", "pairs"), workdir)
    for name in ("tensorboard", "samples"):
      shutil.rmtree(workdir / name, ignore_errors=True)
    for path in (*workdir.rglob("lock*"), workdir / "results/index.html"):
      path.unlink()
    digest = {"params": params_digest(load_params(workdir))}
    (workdir / "expected.json").write_text(json.dumps(digest) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(workdir, target)


if __name__ == "__main__":
  main()
