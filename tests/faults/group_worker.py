"""A process of a group that makes pairs and scores; a test holds it at batches.

python -m tests.faults.group_worker PLAN

PLAN is JSON: the arguments of `run`. Samples are a function of their index
instead of a network's, so that no time is spent on compiling them.
"""

import json
import pathlib
import sys
import time

import jax
import numpy as np

from get_jax.cli.exit import exit_on_error
from get_jax.cli.launch import join_processes
from get_jax.generation.image_sampler import ImageSampler
from get_jax.modes import evaluate, pairs
from tests.helpers import tiny_config, tiny_job

BATCH = 4
PAIRS = 48
SCORED = 64


def config():
  return tiny_config(
    sampling__batch_size=BATCH, evaluation__count=SCORED, mesh__data=1
  )


def run(workdir, trained, coordinator, count, index, modes, held):
  """Runs modes as main.py does.

  Args:
    workdir: folder of the run of pairs; `trained` is that of the scores.
    trained: folder with a checkpoint.
    coordinator: address of process 0; None: there is one process.
    count: number of processes.
    index: index of this one.
    modes: "pairs" and "evaluate", in the order in which they run.
    held: for each mode the number of the batch before which the process says
      that it waits, and waits to be let go.
  """
  gates = pathlib.Path(workdir).parent / "gates"
  made = dict.fromkeys(modes, 0)
  mode = ""

  def sample_batch(self, params, indices, ids=None):
    del self, params, ids
    if made[mode] == held.get(mode):
      (gates / f"{mode}-{count}-{index}").touch()
      while not (gates / f"{mode}-{count}-{index}-go").exists():
        time.sleep(0.05)
    made[mode] += 1
    for each in indices:
      with (gates / f"{mode}-made").open("a") as file:
        file.write(f"{each}\n")
    values = np.stack([np.sin(1 + np.arange(64) * (3 + i)) for i in indices])
    images = values.reshape(-1, 8, 8, 1).astype(np.float32)
    return images, np.asarray(indices, np.int32) % 10

  ImageSampler.sample_batch = sample_batch
  address = (coordinator, count, index) if coordinator else (None, 1, None)
  joined = join_processes("train", *address, 900.0, workdir)
  with exit_on_error(), joined:
    assert jax.process_count() == count
    for mode in modes:
      if mode == "pairs":
        job = tiny_job(
          pairs__teacher_workdir=trained,
          pairs__count=PAIRS,
          pairs__shard_size=BATCH,
          teacher__sampling__batch_size=BATCH,
        )
        pairs.run(job, workdir)
      else:
        evaluate.run(config(), trained)


if __name__ == "__main__":
  run(**json.loads(sys.argv[1]))
