"""What main.py --mode runs: one module a mode, with run(config, workdir)."""

import importlib
from collections.abc import Callable

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
)


def load_mode(mode: str) -> Callable:
  """The function of a mode; imported when asked for."""
  return importlib.import_module(f"get_jax.modes.{mode}").run
