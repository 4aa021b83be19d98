"""Checkpoints: save and restore in GB/s, against a copy of a file.

The state is that of training a DiT: parameters, their average and two moments,
float32. "copy" writes a file of the same size and waits for the disk. These are
wall seconds: much of the time is that of the operating system and the disk.
"""

import functools
import os
import pathlib
import shutil
import statistics
import tempfile
import time

import jax
import jax.numpy as jnp
import optax
from networks import random_params
from timing import Cases, Row, Scale

from get_jax.models import create_model
from get_jax.training.checkpoints import Checkpoints
from get_jax.training.state import make_init_state


def cases(scale: Scale) -> Cases:
  """Returns one case."""
  return {"save and restore": functools.partial(rows, scale)}


def rows(scale: Scale) -> list[Row]:
  """Returns one row."""
  name, fields = scale.select(
    paper=("DiT-XL/2", {}),
    small=("DiT-S/2", dict(depth=6)),
    tiny=("DiT-S/8", dict(depth=1, hidden_size=32, num_heads=2)),
  )
  model = create_model(name, **fields)
  params = jax.device_put(random_params(model))
  init = make_init_state(lambda _: params, (), optax.adamw(1e-4))
  state = jax.block_until_ready(jax.jit(init)(jax.random.key(0)))
  size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
  times: dict[str, list[float]] = {k: [] for k in ("save", "restore", "copy")}
  with tempfile.TemporaryDirectory() as directory:
    folder = pathlib.Path(directory)
    original = folder / "original"
    original.write_bytes(os.urandom(1 << 20) * (1 + (size >> 20)))
    with Checkpoints(folder / "checkpoints", keep=1) as checkpoints:
      for i in range(scale.repeats + 1):
        step = jnp.full_like(state.step, i + 1)
        state = state.replace(step=step)
        for key, function in {
          "save": functools.partial(_save, checkpoints, state),
          "restore": functools.partial(_restore, checkpoints, state),
          "copy": functools.partial(_copy, original),
        }.items():
          start = time.perf_counter()
          function()
          times[key].append(time.perf_counter() - start)
  row: Row = {"state of": name + _label(fields), "MiB": size / 2**20}
  for key, seconds in times.items():
    row[f"{key}, GB/s"] = size / statistics.median(seconds[1:]) / 1e9
  ratios = zip(times["save"][1:], times["copy"][1:], strict=True)
  row["time of save over copy"] = statistics.median(a / b for a, b in ratios)
  return [row]


def _label(fields) -> str:
  return "".join(f", {k}={v}" for k, v in fields.items())


def _save(checkpoints: Checkpoints, state) -> None:
  checkpoints.save(state)
  checkpoints.wait()


def _restore(checkpoints: Checkpoints, state) -> None:
  jax.block_until_ready(checkpoints.restore(state))


def _copy(original: pathlib.Path) -> None:
  target = original.with_suffix(".copy")
  shutil.copyfile(original, target)
  with open(target, "rb") as file:
    os.fsync(file.fileno())
  target.unlink()
