"""Reference numbers of the official codes, where they lie beside the project.

The tests in this folder are skipped where `../shared/golden` does not exist.
"""

import json
import pathlib
import types

import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parents[3] / "shared" / "golden"


@pytest.fixture(scope="session")
def golden_dir():
  """The folder of the reference cases."""
  if not GOLDEN.is_dir():
    pytest.skip("no reference numbers at ../shared/golden")
  return GOLDEN


@pytest.fixture(scope="session")
def golden(golden_dir):
  """Loads `golden("dit/embeddings")` as arrays by key, with `.meta`."""

  def load(case: str) -> types.SimpleNamespace:
    with np.load(golden_dir / f"{case}.npz", allow_pickle=False) as file:
      arrays = {key: file[key] for key in file.files}
    meta = json.loads(str(arrays.pop("meta"))) if "meta" in arrays else {}

    def under(prefix: str) -> dict[str, np.ndarray]:
      cut = len(prefix) + 1
      return {
        k[cut:]: v for k, v in arrays.items() if k.startswith(f"{prefix}/")
      }

    return types.SimpleNamespace(arrays=arrays, meta=meta, under=under)

  return load
