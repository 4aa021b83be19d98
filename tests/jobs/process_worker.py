"""A process of a group that runs several jobs one after the other.

python -m tests.jobs.process_worker JOBS

JOBS is a JSON list of [name, argument, ...]; see the functions below. The group
is that of Slurm's environment variables.
"""

import hashlib
import json
import os
import pathlib
import shutil
import sys
from unittest import mock

import jax
import numpy as np
from jax.experimental import multihost_utils

from get_jax.cli.exit import exit_on_error
from get_jax.cli.launch import join_processes
from get_jax.data import Pipeline, create_source
from get_jax.modes import evaluate, pairs, sample, train
from get_jax.modes import latents as latents_mode
from get_jax.training.processes import run_on_main
from get_jax.training.sharding import (
  local_batch_indices,
  make_global_batch,
  make_mesh,
)
from tests.faults.programs import compiled_once
from tests.helpers import tiny_job

BATCH = 48


def config_of_job():
  return tiny_job(
    teacher__log_every=1,
    teacher__preview_every=4,
    teacher__sampling__count=10,
    sampling__batch_size=48,
    log_every=1,
    checkpoint_every=4,
  )


def job(workdir, report, num_slices):
  """Trains teacher and student, with previews, pairs and maybe a report."""
  config = config_of_job()
  config.report.enabled = report
  train.run(config, workdir, num_slices=num_slices)


def resume(source, workdir, num_slices):
  """Trains the student of `job` again, from its checkpoint of step 4."""
  run_on_main(lambda: copy_up_to_step_4(source, workdir))
  # The same experiment was checked by `job`.
  with mock.patch.object(train, "check_experiment"):
    job(workdir, False, num_slices)


def copy_up_to_step_4(source, workdir):
  shutil.copytree(source, workdir)
  for name in ("features", "results", "samples", "checkpoints/8"):
    shutil.rmtree(pathlib.Path(workdir, name), ignore_errors=True)


def again(source, workdir):
  """Pairs, samples and scores of an existing teacher and student."""
  run_on_main(
    lambda: copy_checkpoints(pathlib.Path(source), pathlib.Path(workdir))
  )
  config = config_of_job()
  pairs.run(config, workdir)
  sample.run(config, workdir)
  evaluate.run(config, workdir)


def copy_checkpoints(source, workdir):
  for name in ("teacher", "checkpoints"):
    shutil.copytree(source / name, workdir / name)


def latents(workdir, autoencoder):
  """Encodes a few images."""
  from tests.modes.test_latents import config_of

  path = pathlib.Path(workdir) / "latents"
  latents_mode.run(config_of(autoencoder, path), workdir)


def hashes(start, stop):
  """Prints a hash of each global batch of some steps.

  The rows of a process are not contiguous, as on TPUs.
  """
  devices = jax.devices()
  mesh = make_mesh((-1, 1, 1), devices[::2] + devices[1::2])
  source = create_source("digits")
  rows = local_batch_indices(BATCH, mesh)
  pipeline = Pipeline(source, BATCH, 3, rows)
  for step, batch in enumerate(pipeline.batches(start, stop), start):
    batch = make_global_batch(batch, mesh)
    whole = multihost_utils.process_allgather(batch, tiled=True)
    found = hashlib.sha256()
    for name in sorted(whole):
      found.update(np.ascontiguousarray(whole[name]).tobytes())
    print(f"step {step}: {found.hexdigest()}")


def main(jobs):
  jobs = json.loads(jobs)

  joined = join_processes("train", None, None, None, 900.0, jobs[0][1])
  with exit_on_error(), joined, compiled_once():
    assert jax.process_count() == int(os.environ["SLURM_NTASKS"])
    assert jax.device_count() == 2 * jax.process_count()
    for name, *given in jobs:
      globals()[name](*given)


if __name__ == "__main__":
  main(*sys.argv[1:])
