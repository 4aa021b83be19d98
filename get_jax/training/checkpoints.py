"""Checkpoints that are complete, verified, and portable between meshes.

Orbax writes and commits them. What it does not promise is added here: every
checkpoint carries a manifest with the shape, dtype and digest of each array; a
checkpoint that is half-written or damaged is put aside with a log line and the
last good one is taken instead.
"""

import contextlib
import functools
import hashlib
import json
import logging
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from get_jax.errors import UsageError
from get_jax.training.processes import allgather, run_on_main
from get_jax.training.sharding import path_name
from get_jax.training.state import TrainState, abstract_like

TEMPORARY = ".orbax-checkpoint-tmp"
log = logging.getLogger(__name__)


class Damaged(Exception):
  """A checkpoint whose content is not what was saved."""


@jax.jit
def _digests(tree):
  """For each leaf, the sum of its bits times odd weights, modulo 2^32.

  Integer sums do not depend on how an array is split, so the digest made on
  one mesh holds on any other; odd weights let no single flipped bit vanish.
  """

  def digest(leaf):
    width = leaf.dtype.itemsize
    unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[width]
    bits = jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32)
    weight = jnp.zeros(leaf.shape, jnp.uint32)
    for axis, size in enumerate(leaf.shape):
      place = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
      weight = weight * jnp.uint32(size) + place
    return jnp.sum(bits * (2 * weight + 1), dtype=jnp.uint32)

  return jax.tree.map(digest, tree)


def manifest_of(items: Mapping[str, Any]) -> dict[str, list]:
  """Path -> [shape, dtype, digest] of every array."""
  leaves = jax.tree_util.tree_leaves_with_path(items)
  digests = jax.tree.leaves(_digests(items))
  return {
    path_name(path): [list(leaf.shape), str(leaf.dtype), int(digest)]
    for (path, leaf), digest in zip(leaves, digests, strict=True)
  }


def _split(state: TrainState) -> dict[str, Any]:
  training = {
    "step": state.step,
    "opt_state": state.opt_state,
    "window": state.window,
    "bad_step": state.bad_step,
  }
  return {"params": state.params, "ema": state.ema, "training": training}


@contextlib.contextmanager
def _damage(what: str):
  """Any error inside, on any process, is `Damaged` on all."""
  reason = ""
  try:
    yield
  except Exception as error:
    reason = f"{what} ({error})"
  if reason := next(filter(None, allgather(reason)), None):
    raise Damaged(reason)


class Checkpoints:
  """The checkpoints of one run, in `<workdir>/checkpoints`.

  Saving is asynchronous; leaving the context waits for it and raises what
  went wrong with it.
  """

  def __init__(self, directory: str | pathlib.Path, keep: int = 2):
    self.directory = pathlib.Path(directory).absolute()
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
    self._manager = ocp.CheckpointManager(self.directory, options=options)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._manager.close()

  @property
  def latest_step(self) -> int | None:
    """The newest committed step, None without any."""
    return self._manager.latest_step()

  def save(self, state: TrainState) -> None:
    """Saves the state under its step.

    Raises:
      RuntimeError: a checkpoint of that step is there already.
    """
    self._save(int(state.step), _split(state))

  def save_params(self, params: dict) -> None:
    """Saves parameters as step 0, without a state of training.

    They stand for their moving average too. A run restored from them starts
    training afresh.
    """
    self._save(0, {"params": params, "ema": params})

  def _save(self, step: int, items: Mapping[str, Any]) -> None:
    saves = {k: ocp.args.StandardSave(v) for k, v in items.items()}
    saves["manifest"] = ocp.args.JsonSave(manifest_of(items))
    if not self._manager.save(step, args=ocp.args.Composite(**saves)):
      raise RuntimeError(f"{self.directory} did not take checkpoint {step}")

  def wait(self) -> None:
    """Returns when everything saved is on disk; raises what failed."""
    self._manager.wait_until_finished()

  def restore(self, like: TrainState) -> TrainState | None:
    """The last good state, placed as `like` is; None without checkpoints.

    Raises:
      UsageError: the arrays are another model's, or every checkpoint is
        damaged.
    """
    run_on_main(self._remove_unfinished)

    def target(manifest):
      items = _split(abstract_like(like))
      if not any(path.startswith("training/") for path in manifest):
        del items["training"]
      return items

    items = self._last_good(target)
    if items is None:
      return None
    return like.replace(**items.pop("training", {}), **items)

  def _last_good(
    self, target, only: int | None = None
  ) -> dict[str, Any] | None:
    """Items of the newest checkpoint that is what was saved.

    Args:
      target: from a checkpoint's manifest to the abstract items wanted.
      only: the one step to be considered; None: all of them.
    """
    steps = run_on_main(lambda: sorted(self._manager.all_steps(), reverse=True))
    steps = [step for step in steps if only in (None, step)]
    for step in steps:
      try:
        return self._read(step, target)
      except Damaged as error:
        log.warning("Skipping damaged checkpoint %d: %s", step, error)
        run_on_main(functools.partial(self._put_aside, step))
        self._manager.reload()
    if steps:
      raise UsageError(
        f"all checkpoints in {self.directory} are damaged; expected a good one "
        "(remove the folder to start anew)"
      )
    return None

  def _read(self, step: int, target) -> dict[str, Any]:
    read = functools.partial(self._manager.restore, step)
    with _damage("its manifest cannot be read"):
      arguments = ocp.args.Composite(manifest=ocp.args.JsonRestore())
      manifest = read(args=arguments)["manifest"]
    wanted = target(manifest)
    _check_fit(wanted, manifest, f"checkpoint {step} in {self.directory}")
    arguments = {k: ocp.args.StandardRestore(v) for k, v in wanted.items()}
    with _damage("its arrays cannot be read"):
      items = dict(read(args=ocp.args.Composite(**arguments)).items())
    for path, entry in manifest_of(items).items():
      if entry != manifest[path]:
        raise Damaged(f"{path} is not what was saved")
    return items

  def _put_aside(self, step: int) -> None:
    aside = self.directory / f"{step}.damaged"
    shutil.rmtree(aside, ignore_errors=True)
    (self.directory / str(step)).rename(aside)

  def _remove_unfinished(self) -> None:
    for entry in sorted(self.directory.iterdir()):
      if TEMPORARY in entry.name:
        log.warning("Skipping half-written checkpoint %s", entry.name)
        shutil.rmtree(entry, ignore_errors=True)


def _check_fit(like, manifest, where: str) -> None:
  wanted = {
    path_name(path): [list(leaf.shape), str(leaf.dtype)]
    for path, leaf in jax.tree_util.tree_leaves_with_path(like)
  }
  rooms = {path.split("/")[0] for path in wanted}
  there = {k: v[:2] for k, v in manifest.items() if k.split("/")[0] in rooms}
  differing = sorted(
    path
    for path in wanted.keys() | there.keys()
    if wanted.get(path) != there.get(path)
  )
  if differing:
    first = differing[0]
    raise UsageError(
      f"{where} is of another model: {len(differing)} arrays differ, the first "
      f"is {first} (found {there.get(first)}, expected {wanted.get(first)})"
    )


def load_params(
  workdir: str | pathlib.Path,
  which: str = "ema",
  sharding=None,
  step: int | None = None,
) -> dict:
  """The parameters of a run, for people who only sample.

  Args:
    workdir: folder of the run; its newest good checkpoint is read.
    which: "ema" (the moving average) or "params".
    sharding: where the arrays go; None: the default device.
    step: which checkpoint; None: the newest good one.

  Returns:
    Nested dict of float32 arrays, to be used as `{"params": ...}`.

  Raises:
    UsageError: no checkpoint is there, or none is good.
  """
  directory = pathlib.Path(workdir) / "checkpoints"
  if sharding is None:
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

  def target(manifest):
    tree = {}
    for path, (shape, dtype, _) in manifest.items():
      room, *folders, name = path.split("/")
      if room == which:
        leaves = functools.reduce(
          lambda t, f: t.setdefault(f, {}), folders, tree
        )
        leaves[name] = jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
    return {which: tree}

  if not directory.is_dir():
    raise UsageError(f"{workdir} holds no checkpoints; expected a trained run")
  with Checkpoints(directory) as checkpoints:
    if step is not None and step not in saved_steps(workdir):
      raise UsageError(
        f"{directory} has no checkpoint {step}; it has {saved_steps(workdir)}"
      )
    items = checkpoints._last_good(target, step)
  if items is None:
    raise UsageError(f"{directory} is empty; expected a trained run")
  return items[which]


def saved_steps(workdir: str | pathlib.Path) -> list[int]:
  """The committed steps of a run, rising, read from the folder alone."""
  directory = pathlib.Path(workdir) / "checkpoints"
  committed = directory.glob("*/_CHECKPOINT_METADATA")
  names = [path.parent.name for path in committed]
  return sorted(int(name) for name in names if name.isdigit())


def latest_step(workdir: str | pathlib.Path) -> int | None:
  """The newest committed step of a run, None without any."""
  return max(saved_steps(workdir), default=None)


def params_digest(params: dict) -> str:
  """A short name for the values of a parameter tree."""
  content = json.dumps(manifest_of(params), sort_keys=True)
  return hashlib.sha256(content.encode()).hexdigest()[:16]
