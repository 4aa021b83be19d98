"""Settings that hold a path or the name of published weights."""

import os
import pathlib
from typing import Any

from get_jax import interop
from get_jax.autoencoder import AutoencoderKL
from get_jax.errors import UsageError
from get_jax.interop.pretrained import open_autoencoder
from get_jax.training.preemption import independent_progress
from get_jax.weights.converted import load_converted
from get_jax.weights.entry import Kind
from get_jax.weights.fetching import fetch
from get_jax.weights.registry import ENTRIES, find, suggest_names


def is_published(value: str, kind: Kind) -> bool:
  """Returns whether a setting names published weights.

  A file or folder of the same name takes precedence.

  Args:
    value: the setting.
    kind: what it has to name.

  Raises:
    UsageError: it names weights of another kind.
  """
  if value not in ENTRIES or pathlib.Path(value).exists():
    return False
  find(value, kind)
  return True


def locate(value: str, kind: Kind, key: str) -> str:
  """Returns the path that a setting stands for.

  All processes of a run call this function together.

  Args:
    value: a path, also in a bucket, or a name.
    kind: what the setting has to name.
    key: the setting, such as "evaluation.reference", for messages.

  Raises:
    UsageError: there is no such file or name, or see `fetch`.
  """
  if is_published(value, kind):
    return os.fspath(fetch_together(value))
  if "://" not in value and not pathlib.Path(value).expanduser().exists():
    raise UsageError(
      f"{key}={value} is neither a file or folder nor a published {kind}; "
      f"{suggest_names(value, kind)}"
    )
  return value


def fetch_together(name: str) -> pathlib.Path:
  """Calls `fetch` in all processes of a run, each at its own pace."""
  with independent_progress():
    return fetch(name)


def load_autoencoder(
  weights: str, **fields: Any
) -> tuple[AutoencoderKL, dict[str, Any]]:
  """Loads the autoencoder that the setting `autoencoder.weights` stands for.

  Args:
    weights: the setting, see `locate`. Published weights are converted once.
    **fields: see `get_jax.interop.load_autoencoder`.

  Returns:
    The module and its parameters, NumPy float32.

  Raises:
    UsageError: see `locate`; or a file is damaged or does not fit the fields.
  """
  if is_published(weights, "autoencoder"):
    model, file = open_autoencoder(fetch_together(weights), **fields)
    return model, load_converted(pathlib.Path(file), model)
  path = locate(weights, "autoencoder", "autoencoder.weights")
  return interop.load_autoencoder(path, **fields)
