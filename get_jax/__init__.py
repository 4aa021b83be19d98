"""Image generators on transformers in JAX and Flax.

The names below are imported on first use, so that `import get_jax` is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from get_jax.diffusion import create_process, create_sampler
  from get_jax.equilibrium import fixed_point
  from get_jax.models import create_model
  from get_jax.pipeline import Pipeline
  from get_jax.training.checkpoints import load_params

__version__ = "0.1.0"

__all__ = [
  "Pipeline",
  "__version__",
  "create_model",
  "create_process",
  "create_sampler",
  "fixed_point",
  "load_params",
]

_HOMES = {
  "Pipeline": "get_jax.pipeline",
  "create_model": "get_jax.models",
  "create_process": "get_jax.diffusion",
  "create_sampler": "get_jax.diffusion",
  "fixed_point": "get_jax.equilibrium",
  "load_params": "get_jax.training.checkpoints",
}


def __getattr__(name: str) -> Any:
  """Imports a public name from its package on first use."""
  if name not in _HOMES:
    raise AttributeError(f"module 'get_jax' has no attribute {name!r}")
  value = getattr(importlib.import_module(_HOMES[name]), name)
  globals()[name] = value
  return value


def __dir__() -> list[str]:
  """Returns the public names, imported or not."""
  return sorted({*globals(), *__all__})
