"""Networks whose parameters are files of this package.

`scripts/package_digits.py` makes them.
"""

import pathlib
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from flax import traverse_util

from get_jax.weights.entry import Entry, File
from get_jax.weights.licences import APACHE

FOLDER = pathlib.Path(__file__).parent / "files"

_IMAGES = dict(
  image_size=8, downsample=1, in_channels=1, patch_size=4, hidden_size=192
)


def _digits(
  name: str, config: str, score: str, /, teacher: str = "", **model: Any
) -> Entry:
  path = FOLDER / f"{name}.safetensors"
  return Entry(
    name=name,
    kind="network",
    files=(File(path.name),),
    page="",
    licence=APACHE,
    size=path.stat().st_size,
    config=config,
    model=_IMAGES | dict(num_heads=3, num_classes=10) | model,
    teacher=teacher,
    score=score,
    packaged=True,
  )


PACKAGED = (
  _digits(
    "get-digits",
    "get_digits",
    "FID 0.61 (digits-v1, 5,000 samples)",
    teacher="dit-digits",
    name="GET",
    injection_depth=1,
    equilibrium_depth=1,
    equilibrium_mlp_ratio=4.0,
  ),
  _digits(
    "dit-digits",
    "dit_digits",
    "FID 0.31 (digits-v1, 5,000 samples)",
    name="DiT",
    depth=4,
    null_class=False,
    learn_sigma=False,
  ),
)


def packaged_path(entry: Entry) -> pathlib.Path:
  """Returns the path of the file of a packaged entry."""
  return FOLDER / entry.files[0].name


def save_packaged(path: pathlib.Path, params: Any, made_by: str) -> None:
  """Writes parameters as float16, named by their paths.

  Args:
    path: the file, *.safetensors.
    params: nested dict of arrays.
    made_by: how the parameters were made.
  """
  half = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), params)
  flat = traverse_util.flatten_dict(half, sep="/")
  path.parent.mkdir(parents=True, exist_ok=True)
  safetensors.numpy.save_file(flat, path, {"made_by": made_by})


def load_packaged(entry: Entry) -> dict[str, Any]:
  """Returns the parameters of a packaged entry, NumPy float32."""
  flat = safetensors.numpy.load_file(packaged_path(entry))
  tree = traverse_util.unflatten_dict(flat, sep="/")
  return jax.tree.map(lambda leaf: leaf.astype(np.float32), tree)
