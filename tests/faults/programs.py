"""Small programs of every kind that writes a workdir, and what they result in.

Each of them runs a mode of the library in this process. Their results do not
depend on interruptions, and are compared byte for byte.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import ml_collections
import numpy as np
import safetensors.numpy
from matplotlib.figure import Figure

from get_jax.autoencoder import create_autoencoder
from get_jax.builders.model import build_init, build_model
from get_jax.interop.official import export_official
from get_jax.jobs import latents as latents_job
from get_jax.jobs import pairs as pairs_job
from get_jax.jobs import train as train_job
from get_jax.models.parameters import abstract_params
from get_jax.modes import evaluate, latents, pairs, sample, train
from get_jax.training.checkpoints import Checkpoints, load_params, saved_steps
from get_jax.training.metrics import read_metrics
from get_jax.training.profiling import PERFORMANCE_KEYS
from get_jax.training.rng import named_key
from tests.helpers import tiny_config, tiny_job

NAMES = ("train", "pairs", "latents", "sample", "evaluate")
KEPT = 2  # checkpoints
Result = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Program:
  """A program that is interrupted and run again.

  Attributes:
    name: its name, one of `NAMES`.
    inputs: what its workdir holds before the first run.
    run: runs the program on a workdir; run again, it resumes.
    results: from a workdir to what the program has made, by name.
  """

  name: str
  inputs: pathlib.Path
  run: Callable[[pathlib.Path], object]
  results: Callable[[pathlib.Path], Result]

  def prepare(self, workdir: pathlib.Path) -> None:
    """Makes a workdir as it is before the first run."""
    shutil.copytree(self.inputs, workdir)


def create(name: str, folder: pathlib.Path) -> Program:
  """Creates a program; its inputs are made in a folder."""
  inputs = folder / "inputs"
  inputs.mkdir(parents=True)
  return globals()[f"_create_{name}"](inputs)


def _create_train(inputs: pathlib.Path) -> Program:
  config = tiny_config(num_steps=6, log_every=1, checkpoint_every=2)
  return Program(
    "train", inputs, lambda workdir: train.run(config, str(workdir)), _training
  )


def _training(workdir: pathlib.Path) -> Result:
  steps = saved_steps(workdir)
  found: Result = {
    f"checkpoint {step}": json.loads(
      (workdir / f"checkpoints/{step}/manifest/metadata").read_text()
    )
    for step in steps[-KEPT:]
  }
  for step in steps:
    load_params(workdir, step=step)  # compares the arrays with the manifest
  found["metrics"] = [
    {k: v for k, v in line.items() if k not in PERFORMANCE_KEYS}
    for line in read_metrics(workdir)
  ]
  found |= _names(workdir)
  # A kill after the last save may leave an older checkpoint, as a whole.
  older = {f"checkpoints/{step}" for step in steps[:-KEPT]}
  return found | {"names": sorted({*found["names"]} - older)}


def _create_pairs(inputs: pathlib.Path) -> Program:
  config = tiny_job(
    pairs__count=20, pairs__shard_size=8, teacher__sampling__batch_size=8
  )
  _save_random(config.teacher, inputs / "teacher")
  return Program(
    "pairs",
    inputs,
    lambda workdir: pairs.run(config, str(workdir)),
    lambda workdir: _files(workdir, "pairs/*", "results/pairs.json"),
  )


def _create_latents(inputs: pathlib.Path) -> Program:
  fields = dict(
    latent_channels=2,
    block_out_channels=(2, 4),
    layers_per_block=1,
    norm_num_groups=2,
  )
  model = create_autoencoder(**fields)
  rng = np.random.RandomState(0)
  params = jax.tree.map(
    lambda x: 0.3 * rng.standard_normal(x.shape).astype(np.float32),
    abstract_params(model),
  )
  weights = inputs.parent / "autoencoder"
  weights.mkdir()
  (weights / "config.json").write_text(json.dumps(fields))
  safetensors.numpy.save_file(
    export_official(model, params),
    weights / "diffusion_pytorch_model.safetensors",
  )
  config = tiny_config(
    autoencoder__weights=str(weights),
    data=dict(name="latents", path=""),
    latents=dict(
      data=dict(
        name="synthetic", image_size=8, channels=3, num_classes=3, size=10
      ),
      dtype="float32",
      flips=True,
      shard_size=4,
      batch_size=2,
    ),
  )

  def run(workdir: pathlib.Path) -> None:
    config.data.path = str(workdir / "latents")
    latents.run(config, str(workdir))

  return Program(
    "latents",
    inputs,
    run,
    lambda workdir: _files(workdir, "latents/*", "results/latents.json"),
  )


def _create_sample(inputs: pathlib.Path) -> Program:
  config = tiny_config(sampling__count=20, sampling__batch_size=8)
  _save_random(config, inputs)
  return Program(
    "sample",
    inputs,
    lambda workdir: sample.run(config, str(workdir)),
    lambda workdir: _files(workdir, "samples/*", "results/sample.json"),
  )


def _create_evaluate(inputs: pathlib.Path) -> Program:
  config = tiny_config(evaluation__count=64, sampling__batch_size=24)
  _save_random(config, inputs)
  return Program(
    "evaluate",
    inputs,
    lambda workdir: evaluate.run(config, str(workdir)),
    lambda workdir: _files(workdir, "results/evaluate.json"),
  )


def _save_random(config: Any, workdir: pathlib.Path) -> None:
  """Saves random parameters as those of a trained run."""
  params = build_init(build_model(config))(named_key(0, "init"))
  with Checkpoints(workdir / "checkpoints") as checkpoints:
    checkpoints.save_params(params)


def _files(workdir: pathlib.Path, *patterns: str) -> Result:
  """Returns digests of files by name, and the names of all others."""
  found: Result = {}
  for path in sorted(p for pattern in patterns for p in workdir.glob(pattern)):
    if path.is_file() and not path.name.startswith("lock"):
      digest = hashlib.sha256(path.read_bytes()).hexdigest()
      found[str(path.relative_to(workdir))] = digest
  return found | _names(workdir)


def _names(workdir: pathlib.Path) -> Result:
  """Returns the names of all files, without those inside of checkpoints."""
  names = {
    str(path.relative_to(workdir))
    for path in workdir.rglob("*")
    if path.is_file() and not {"tensorboard", "checkpoints"} & {*path.parts}
  }
  names |= {f"checkpoints/{p.name}" for p in workdir.glob("checkpoints/*")}
  return {"names": sorted(names)}


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
  """Context in which programs that run again need no tracing or compilation.

  Builders return the same functions for the same config, and pictures are not
  drawn; all files are written as ever.
  """

  def by_config(module: Any, name: str) -> None:
    build, built = getattr(module, name), {}

    def cached(config: Any, *args: Any) -> Any:
      is_config = isinstance(config, ml_collections.ConfigDict)
      key = config.to_json() if is_config else config
      if key not in built:
        built[key] = build(config, *args)
      return built[key]

    stack.enter_context(mock.patch.object(module, name, cached))

  def by_identity(module: Any, name: str) -> None:
    build, built = getattr(module, name), {}

    def cached(*args: Any) -> Any:
      key = tuple(map(id, args))
      if key not in built:
        built[key] = args, build(*args)
      return built[key][1]

    stack.enter_context(mock.patch.object(module, name, cached))

  with contextlib.ExitStack() as stack:
    by_config(train_job, "build_training_step")
    by_config(train, "build_init")
    for module in (train, pairs_job, sample, evaluate):
      by_config(module, "build_generator")
    by_config(evaluate, "build_evaluator")
    by_config(latents_job, "build_autoencoder")
    by_identity(latents_job, "_Encoder")
    stack.enter_context(mock.patch.object(Figure, "savefig", _draw_nothing))
    stack.enter_context(mock.patch.object(Figure, "tight_layout"))
    yield


def _draw_nothing(_: Figure, file: Any, format: str, **__: Any) -> None:
  file.write("<svg></svg>" if format == "svg" else b"a picture")
