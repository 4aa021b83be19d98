"""Weights of FID's Inception-v3: from the public checkpoint's arrays.

The checkpoint is read elsewhere (`get_jax.interop`), without executing
anything in it; here its arrays are checked, folded and given Flax's names.
"""

import functools
import hashlib
import pathlib
from collections.abc import Mapping

import jax
import numpy as np

from get_jax.errors import UsageError
from get_jax.evaluation.extractors.inception import Inception
from get_jax.evaluation.extractors.preprocessing import SIZE

FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"
URL = (
  "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
  + FILE_NAME
)
DEFAULT_PATH = pathlib.Path("~/.cache/get_jax") / FILE_NAME
_EPSILON = 1e-3
_NORM = ("weight", "bias", "running_mean", "running_var")


def locate_inception_file(path: str | None = None) -> pathlib.Path:
  """Finds the checkpoint.

  Args:
    path: Where it lies; None means `DEFAULT_PATH`.

  Raises:
    UsageError: It is not there; the sentence says where to get it.
  """
  found = pathlib.Path(path or DEFAULT_PATH).expanduser()
  if not found.is_file():
    raise UsageError(
      f"the weights of FID's Inception-v3 are not at {found}: download {URL} "
      "and put it there"
    )
  return found


@functools.cache
def checkpoint_shapes() -> dict[str, tuple[int, ...]]:
  """Names and shapes of the 472 arrays of the checkpoint, sorted by name."""
  inputs = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), np.float32)
  params = jax.eval_shape(Inception().init, jax.random.key(0), inputs)
  shapes = {}
  for path, leaf in jax.tree.leaves_with_path(params["params"]):
    *block, _, kind = (entry.key for entry in path)
    if block == [] and kind == "bias":
      shapes["fc.bias"] = leaf.shape
    elif block == []:
      shapes["fc.weight"] = leaf.shape[::-1]
    elif kind == "kernel":
      height, width, into, out = leaf.shape
      shapes[".".join([*block, "conv.weight"])] = (out, into, height, width)
    else:
      for name in _NORM:
        shapes[".".join([*block, "bn", name])] = leaf.shape
  return dict(sorted(shapes.items()))


def inception_params(arrays: Mapping[str, np.ndarray]) -> dict:
  """Folds batch normalisation and renames.

  Args:
    arrays: The checkpoint as arrays by name (PyTorch's layouts). Counters of
      batches and the auxiliary classifier are ignored.

  Returns:
    Parameters of `Inception`, float32.

  Raises:
    UsageError: The arrays belong to another network; torchvision's
      ImageNet weights, of the same family, have a sentence of their own.
  """
  if not isinstance(arrays, Mapping):
    raise UsageError(
      f"the Inception weights are a {type(arrays).__name__}, expected arrays "
      f"by name as in {FILE_NAME}"
    )
  arrays = {
    key: value
    for key, value in arrays.items()
    if not key.endswith("num_batches_tracked")
    and not key.startswith("AuxLogits.")
  }
  _check(arrays)
  params: dict = {
    "fc": {
      "kernel": np.asarray(arrays["fc.weight"], np.float32).T,
      "bias": np.asarray(arrays["fc.bias"], np.float32),
    }
  }
  for key in arrays:
    if not key.endswith(".conv.weight"):
      continue
    block = key.removesuffix(".conv.weight")
    kernel = np.asarray(arrays[key], np.float64).transpose(2, 3, 1, 0)
    weight, bias, mean, variance = (
      np.asarray(arrays[f"{block}.bn.{name}"], np.float64) for name in _NORM
    )
    scale = weight / np.sqrt(variance + _EPSILON)
    place = params
    for name in block.split("."):
      place = place.setdefault(name, {})
    place["conv"] = {
      "kernel": (kernel * scale).astype(np.float32),
      "bias": (bias - mean * scale).astype(np.float32),
    }
  return params


def _check(arrays):
  wanted = checkpoint_shapes()
  rows = len(arrays["fc.weight"]) if "fc.weight" in arrays else None
  if rows == 1000:
    raise UsageError(
      "these are torchvision's Inception-v3 weights (1000 classes), expected "
      f"those of FID's network (1008 classes), {FILE_NAME} from {URL}"
    )
  missing = sorted(wanted.keys() - arrays.keys())
  unknown = sorted(arrays.keys() - wanted.keys())
  if missing or unknown:
    some = [f"no {key!r}" for key in missing[:2]]
    some += [f"an unknown {key!r}" for key in unknown[:2]]
    raise UsageError(
      f"the Inception weights have {len(missing)} keys missing and "
      f"{len(unknown)} unknown ({', '.join(some)}), expected the "
      f"{len(wanted)} keys of {FILE_NAME}"
    )
  for key, shape in wanted.items():
    if np.shape(arrays[key]) != shape:
      raise UsageError(
        f"the Inception weights have {key!r} of shape {np.shape(arrays[key])}, "
        f"expected {shape}"
      )


def random_checkpoint(seed: int) -> dict[str, np.ndarray]:
  """Arrays in the checkpoint's form, drawn at random.

  For trying out programs where the real file is not at hand; distances under
  it compare with nothing else.

  Args:
    seed: Seed; equal seeds give equal arrays.
  """
  rng = np.random.Generator(np.random.PCG64(seed))
  arrays = {}
  for key, shape in checkpoint_shapes().items():
    u = 2 * rng.random(shape) - 1
    if key.endswith("conv.weight"):
      u *= np.sqrt(6 / np.prod(shape[1:]))
    elif key == "fc.weight":
      u *= np.sqrt(3 / shape[1]) * 0.5
    elif key == "fc.bias":
      u *= 0.5
    elif key.endswith("bn.running_var"):
      u = 1 + 0.5 * u
    else:
      u = 0.2 * u + key.endswith("bn.weight")
    arrays[key] = u.astype(np.float32)
  return arrays


def digest(arrays: Mapping[str, np.ndarray]) -> str:
  """sha256 of the float32 bytes of all arrays in the order of their names."""
  found = hashlib.sha256()
  for key in checkpoint_shapes():
    found.update(np.ascontiguousarray(arrays[key], np.float32).tobytes())
  return found.hexdigest()
