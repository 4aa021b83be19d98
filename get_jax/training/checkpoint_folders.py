"""The folders of checkpoints, and what an interruption leaves of them.

A checkpoint is complete when Orbax has renamed its folder or, in a bucket, has
written the object `commit_success.txt`. On disk, an outdated checkpoint is
renamed into the folder `outdated` before its files are deleted, so that an
interruption never leaves a part of one.
"""

import errno
import logging
import time

import orbax.checkpoint as ocp

from get_jax.errors import reason
from get_jax.storage.paths import Path, is_remote, move_folder

TEMPORARY = ".orbax-checkpoint-tmp"  # in names of unfinished checkpoints
COMMITTED = "commit_success.txt"  # in complete checkpoints of a bucket
OUTDATED = "outdated"  # folder of checkpoints that are being deleted
log = logging.getLogger(__name__)


def is_complete(checkpoint: Path) -> bool:
  """Returns whether Orbax has committed a checkpoint."""
  marker = COMMITTED if is_remote(checkpoint) else "_CHECKPOINT_METADATA"
  return (checkpoint / marker).exists()


def move_aside(directory: Path, step: int) -> None:
  """Renames a damaged checkpoint to `<step>.damaged`."""
  aside = directory / f"{step}.damaged"
  aside.rmtree(missing_ok=True)
  # Without its marker it is no checkpoint, even if this is interrupted.
  if is_remote(directory):
    (directory / str(step) / COMMITTED).unlink(missing_ok=True)
  move_folder(directory / str(step), aside)


def move_unreadable(directory: Path) -> None:
  """Renames the checkpoints whose metadata Orbax cannot read.

  A warning names each.
  """
  for entry in sorted(directory.iterdir()):
    if not entry.name.isdigit():
      continue
    step = int(entry.name)
    try:
      # Read when it is asked for.
      _ = ocp.path.step.Metadata(step, entry).commit_timestamp_nsecs
    except Exception as error:
      log.warning(
        "Skipping damaged checkpoint %d: its metadata cannot be read (%s)",
        step,
        reason(error),
      )
      move_aside(directory, step)


def remove_outdated(directory: Path) -> None:
  """Deletes the files of outdated checkpoints; a bucket has none."""
  if not is_remote(directory):
    (directory / OUTDATED).rmtree(missing_ok=True)


def remove_leftovers(directory: Path) -> None:
  """Removes what an interrupted run has left between its checkpoints.

  A warning names each unfinished checkpoint. Only the writer of a run may call
  it, while it saves nothing.
  """
  if not directory.is_dir():  # a bucket has no empty folders
    return
  remove_outdated(directory)
  for entry in sorted(directory.iterdir()):
    if TEMPORARY in entry.name or (
      is_remote(entry) and entry.name.isdigit() and not is_complete(entry)
    ):
      log.warning("Removing incomplete checkpoint %s", entry.name)
      _remove_tree(entry)


def _remove_tree(folder: Path) -> None:
  """Deletes a folder, into which a failed save of this process may still write.

  Orbax's threads for the other arrays go on when one has failed.
  """
  for remaining in reversed(range(50)):
    try:
      folder.rmtree(missing_ok=True)
      return
    except OSError as error:
      if error.errno != errno.ENOTEMPTY or not remaining:
        raise
      time.sleep(0.1)
