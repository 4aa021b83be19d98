"""Saves and restores checkpoints, verified and portable between meshes.

Orbax writes and commits the checkpoints. This module adds a manifest with the
shape, dtype and digest of each array to every checkpoint. An incomplete
checkpoint is removed and a damaged one is renamed to `<step>.damaged`, both
with a warning; the last valid checkpoint is restored instead.
"""

import contextlib
import functools
import gc
import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import tensorstore as ts
from jaxtyping import PyTree

from get_jax.errors import UsageError
from get_jax.storage.bucket_errors import explained
from get_jax.storage.disk_errors import describe_disk_error
from get_jax.storage.paths import Path, StrPath, as_path, is_remote
from get_jax.training import checkpoint_folders as folders
from get_jax.training.processes import allgather, run_on_main
from get_jax.training.sharding import path_name
from get_jax.training.state import TrainState, abstract_like

log = logging.getLogger(__name__)

# Orbax cuts replicated arrays into a slice for each device, by programs that
# are compiled for each shape and device; small arrays one replica writes alone.
# The option has no public name; without it, the first checkpoint takes longer.
_array_handler: Any = ocp.type_handlers.get_type_handler(jax.Array)
_array_handler._min_slice_bytes_for_replica_parallel = 1 << 20

# From the manifest of a checkpoint to the abstract items to restore.
AbstractItems = Callable[[dict[str, list]], dict[str, Any]]


class CheckpointDamagedError(Exception):
  """The content of a checkpoint differs from what was saved."""


@jax.jit
def _digest(leaf: jax.Array) -> jax.Array:
  """Returns the sum of the words of an array times odd weights, mod 2^32.

  Integer sums do not depend on how an array is sharded, so a digest is the same
  on every mesh. With odd weights, any single flipped bit changes the digest.
  """
  width = leaf.dtype.itemsize
  unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[width]
  bits = jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32)
  weight = jnp.zeros(leaf.shape, jnp.uint32)
  for axis, size in enumerate(leaf.shape):
    index = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
    weight = weight * jnp.uint32(size) + index
  return jnp.sum(bits * (2 * weight + 1), dtype=jnp.uint32)


def manifest_of(items: Mapping[str, Any]) -> dict[str, list]:
  """Returns a dict from path to [shape, dtype, digest] of every array."""
  leaves = jax.tree_util.tree_leaves_with_path(items)
  # Compiled once for each shape, which layers, average and moments share. Each
  # program is waited for, because the sums of many programs at once, over the
  # devices of a CPU, wait for each other for ever.
  return {
    path_name(path): [list(leaf.shape), str(leaf.dtype), int(_digest(leaf))]
    for path, leaf in leaves
  }


def _split(state: TrainState) -> dict[str, Any]:
  """Returns the items of a checkpoint of a state."""
  training = {
    "step": state.step,
    "opt_state": state.opt_state,
    "window": state.window,
    "bad_step": state.bad_step,
  }
  items: dict[str, Any] = {
    "params": state.params,
    "ema": state.ema,
    "training": training,
  }
  if state.targets:
    items["targets"] = state.targets
  return items


@contextlib.contextmanager
def _errors_as_damage(description: str) -> Iterator[None]:
  """Raises `CheckpointDamagedError` on all processes if one has an error.

  Orbax logs errors itself too. They are left out here, because the caller
  writes one line about a damaged checkpoint.
  """
  reason = ""
  _ignore_late_reads()
  with _without_messages("absl", "asyncio"):
    try:
      yield
    except UsageError:  # a bucket that is out of reach is no damage
      raise
    except Exception as error:
      if describe_disk_error(error) is not None:
        raise
      reason = f"{description} ({_first_sentence(error)})"
    if reason:
      # Tasks of asyncio are logged when they are collected.
      gc.collect()
  for first in filter(None, allgather(reason)):
    raise CheckpointDamagedError(first)


@functools.cache
def _ignore_late_reads() -> None:
  """Ignores reads that end after another one has failed, from now on.

  Orbax has closed their event loop then; they report that from a thread.
  """
  before = sys.unraisablehook

  def hook(args: Any) -> None:
    if str(args.exc_value) != "Event loop is closed":
      before(args)

  sys.unraisablehook = hook


def _first_sentence(error: Exception) -> str:
  """Returns the message of an error without the details of TensorStore."""
  details = re.compile(r"\. See full TensorStore| \[\w+='|\n")
  return details.split(str(error), maxsplit=1)[0] or type(error).__name__


@contextlib.contextmanager
def _without_messages(*names: str) -> Iterator[None]:
  """Context in which loggers, and coroutines that are left, write nothing."""
  loggers = [logging.getLogger(name) for name in names]
  before, hook = [logger.disabled for logger in loggers], sys.unraisablehook
  for logger in loggers:
    logger.disabled = True
  sys.unraisablehook = lambda _: None
  try:
    yield
  finally:
    sys.unraisablehook = hook
    for logger, disabled in zip(loggers, before, strict=True):
      logger.disabled = disabled


class Checkpoints:
  """The checkpoints of one run, in `<workdir>/checkpoints`.

  Saving is asynchronous. The exit of the context waits for it and raises its
  errors.

  Args:
    directory: folder of the checkpoints, on disk or in a bucket; it is created
      if necessary.
    keep: number of checkpoints to keep; older ones are deleted.
  """

  def __init__(self, directory: StrPath, keep: int = 2):
    self.directory = as_path(directory)
    if not is_remote(self.directory):
      self.directory = self.directory.absolute()
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      create=True,
      todelete_subdir=None if is_remote(self.directory) else folders.OUTDATED,
    )
    self._has_saved = False
    create = functools.partial(
      ocp.CheckpointManager, self.directory, options=options
    )
    # It reads the metadata of all checkpoints, which may be damaged.
    try:
      with _errors_as_damage("unreadable metadata"), self._explained():
        self._manager = create()
    except CheckpointDamagedError:
      run_on_main(lambda: folders.move_unreadable(self.directory))
      with self._explained(), _without_messages("absl"):
        self._manager = create()

  def _explained(self) -> contextlib.AbstractContextManager[None]:
    """Context that turns faults of the bucket into sentences."""
    return explained(os.fspath(self.directory))

  def __enter__(self):
    return self

  @contextlib.contextmanager
  def _saving(self) -> Iterator[None]:
    """Context that turns faults of the bucket or disk into sentences."""
    reason = None
    with _without_messages("asyncio"), self._explained():
      try:
        yield
      except Exception as error:
        if not is_remote(self.directory):
          reason = describe_disk_error(error)
          if not self.directory.is_dir():
            reason = f"{self.directory} does not exist any more"
        if reason is None:
          raise
      if reason is not None:
        gc.collect()
    if reason is not None:
      raise UsageError(
        f"a checkpoint cannot be saved ({reason}); the same command continues "
        f"from the last one that is complete in {self.directory}"
      )

  def __exit__(self, error_type: type[BaseException] | None, *_: object):
    try:
      with self._saving():
        self._manager.close()
        self._remove_outdated()
    except Exception:
      # What was raised before is the cause.
      if error_type is None:
        raise

  @property
  def latest_step(self) -> int | None:
    """The newest committed step; None if there is no checkpoint."""
    return self._manager.latest_step()

  def save(self, state: TrainState) -> None:
    """Saves the state as the checkpoint of its step.

    Raises:
      RuntimeError: a checkpoint of that step already exists.
    """
    self._save(int(state.step), _split(state))

  def save_params(self, params: dict) -> None:
    """Saves parameters as step 0, without optimizer state.

    They are saved as the EMA too. A run restored from this checkpoint starts
    training at step 0.
    """
    self._save(0, {"params": params, "ema": params})

  def _save(self, step: int, items: Mapping[str, Any]) -> None:
    saves = {k: ocp.args.StandardSave(v) for k, v in items.items()}
    saves["manifest"] = ocp.args.JsonSave(manifest_of(items))
    with self._saving():
      self._manager.wait_until_finished()
      self._remove_outdated()
      self._has_saved = True
      saved = self._manager.save(step, args=ocp.args.Composite(**saves))
    if not saved:
      raise RuntimeError(f"{self.directory} could not save checkpoint {step}")

  def wait(self) -> None:
    """Waits until all checkpoints are on disk; raises errors of saving."""
    with self._saving():
      self._manager.wait_until_finished()
      self._remove_outdated()

  def _remove_outdated(self) -> None:
    """Deletes what Orbax has moved out of the way, when no save is going on.

    Another process may write the run of which this one only reads.
    """
    if self._has_saved and jax.process_index() == 0:
      folders.remove_outdated(self.directory)

  def restore(self, like: TrainState) -> TrainState | None:
    """Restores the last valid checkpoint.

    Args:
      like: a state with the wanted shapes, dtypes and shardings. It also
        provides the fields that a checkpoint of `save_params` lacks.

    Returns:
      The restored state, or None if there is no checkpoint.

    Raises:
      UsageError: the arrays belong to another model, or every checkpoint is
        damaged.
    """
    run_on_main(lambda: folders.remove_leftovers(self.directory))

    def abstract_items(manifest):
      items = _split(abstract_like(like))
      if not any(path.startswith("training/") for path in manifest):
        return {name: items[name] for name in ("params", "ema")}
      return items

    items = self._restore_last_valid(abstract_items)
    if items is None:
      return None
    if "training" not in items:
      # A run that starts from imported parameters.
      targets = dict.fromkeys(like.targets, items["params"])
      return like.replace(**items, targets=jax.tree.map(jnp.copy, targets))
    return like.replace(**items.pop("training"), **items)

  def _restore_last_valid(
    self, abstract_items: AbstractItems, only: int | None = None
  ) -> dict[str, Any] | None:
    """Restores items of the newest checkpoint that is not damaged.

    Args:
      abstract_items: from the manifest of a checkpoint to the abstract items.
      only: the only step to consider; None: all steps.
    """
    steps = run_on_main(lambda: sorted(self._manager.all_steps(), reverse=True))
    steps = [step for step in steps if only in (None, step)]
    for step in steps:
      try:
        return self._read(step, abstract_items)
      except CheckpointDamagedError as error:
        log.warning("Skipping damaged checkpoint %d: %s", step, error)
        run_on_main(functools.partial(folders.move_aside, self.directory, step))
        with _without_messages("absl"):
          self._manager.reload()
    if steps:
      raise UsageError(
        f"all checkpoints in {self.directory} are damaged; expected a valid "
        "one (remove the folder to start from scratch)"
      )
    return None

  def _read(self, step: int, abstract_items: AbstractItems) -> dict[str, Any]:
    read = functools.partial(self._manager.restore, step)
    with _errors_as_damage("its manifest cannot be read"), self._explained():
      arguments = ocp.args.Composite(manifest=ocp.args.JsonRestore())
      manifest = read(args=arguments)["manifest"]
    wanted = abstract_items(manifest)
    _check_fit(wanted, manifest, f"checkpoint {step} in {self.directory}")
    arguments = {k: ocp.args.StandardRestore(v) for k, v in wanted.items()}
    with _errors_as_damage("its arrays cannot be read"), self._explained():
      for item in wanted:
        _read_index(self.directory / str(step) / item)
      items = dict(read(args=ocp.args.Composite(**arguments)).items())
    for path, entry in manifest_of(items).items():
      if entry != manifest[path]:
        raise CheckpointDamagedError(f"{path} differs from what was saved")
    return items


def _read_index(directory: Path) -> None:
  """Reads the index of an item's arrays.

  If that fails inside Orbax, its readers print tracebacks from other threads.
  """
  base = f"{directory}/" if is_remote(directory) else f"file://{directory}/"
  store = ts.KvStore.open({"driver": "ocdbt", "base": base}).result()
  store.list().result()


def _check_fit(
  like: PyTree, manifest: Mapping[str, list], description: str
) -> None:
  """Raises a UsageError if shapes or dtypes differ from the manifest's."""
  wanted = {
    path_name(path): [list(leaf.shape), str(leaf.dtype)]
    for path, leaf in jax.tree_util.tree_leaves_with_path(like)
  }
  items = {path.split("/")[0] for path in wanted}
  found = {k: v[:2] for k, v in manifest.items() if k.split("/")[0] in items}
  differing = sorted(
    path
    for path in wanted.keys() | found.keys()
    if wanted.get(path) != found.get(path)
  )
  if differing:
    first = differing[0]
    raise UsageError(
      f"{description} belongs to another model: {len(differing)} arrays "
      f"differ, the first is {first} (found {found.get(first)}, expected "
      f"{wanted.get(first)})"
    )


def load_params(
  workdir: StrPath,
  which: str = "ema",
  sharding: jax.sharding.Sharding | None = None,
  step: int | None = None,
) -> dict:
  """Loads the parameters of a run, for sampling.

  Args:
    workdir: folder of the run.
    which: "ema" (exponential moving average) or "params".
    sharding: sharding of the arrays; None: the default device.
    step: step of the checkpoint; None: the newest valid checkpoint.

  Returns:
    Nested dict of float32 arrays, for `model.apply({"params": ...}, ...)`.

  Raises:
    UsageError: there is no such checkpoint, or none is valid.
  """
  directory = as_path(workdir) / "checkpoints"
  if sharding is None:
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

  def abstract_items(manifest):
    tree: dict[str, Any] = {}
    for path, (shape, dtype, _) in manifest.items():
      item, *modules, name = path.split("/")
      if item == which:
        leaves = functools.reduce(
          lambda t, m: t.setdefault(m, {}), modules, tree
        )
        leaves[name] = jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
    return {which: tree}

  if not directory.is_dir():
    raise UsageError(
      f"{workdir} contains no checkpoints; expected a trained run"
    )
  with Checkpoints(directory) as checkpoints:
    if step is not None and step not in saved_steps(workdir):
      raise UsageError(
        f"{directory} has no checkpoint {step}; it has {saved_steps(workdir)}"
      )
    items = checkpoints._restore_last_valid(abstract_items, step)
  if items is None:
    raise UsageError(f"{directory} is empty; expected a trained run")
  return items[which]


def saved_steps(workdir: StrPath) -> list[int]:
  """Returns the committed steps of a run, ascending, without opening Orbax."""
  directory = as_path(workdir) / "checkpoints"
  if not directory.is_dir():
    return []
  numbered = [path for path in directory.iterdir() if path.name.isdigit()]
  return sorted(
    int(path.name) for path in numbered if folders.is_complete(path)
  )


def latest_step(workdir: StrPath) -> int | None:
  """Returns the newest committed step of a run; None if there is none."""
  return max(saved_steps(workdir), default=None)


def params_digest(params: dict) -> str:
  """Returns a digest (16 hex digits) of paths, shapes, dtypes and values."""
  content = json.dumps(manifest_of(params), sort_keys=True)
  return hashlib.sha256(content.encode()).hexdigest()[:16]
