"""The modes of main.py: one module per value of --mode, each with `run`."""

import importlib
from collections.abc import Callable

__all__ = [
  "MODES",
  "compile",
  "convert",
  "curve",
  "demo",
  "evaluate",
  "latents",
  "load_mode",
  "pairs",
  "sample",
  "status",
  "summary",
  "train",
  "weights",
]

MODES = (
  "train",
  "sample",
  "evaluate",
  "curve",
  "latents",
  "pairs",
  "convert",
  "summary",
  "compile",
  "status",
  "demo",
  "weights",
)


def load_mode(mode: str) -> Callable[..., None]:
  """Imports the module of a mode and returns its `run(config, workdir, ...)`.

  Args:
    mode: one of `MODES`.
  """
  return importlib.import_module(f"get_jax.modes.{mode}").run
