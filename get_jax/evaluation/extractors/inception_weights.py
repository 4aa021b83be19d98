"""Converts the public checkpoint of FID's Inception-v3 to Flax parameters.

`get_jax.interop` reads the checkpoint without executing anything in it; this
module checks its arrays, folds batch normalization and renames them.
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
from get_jax.storage.paths import Path, as_path

FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"
URL = (
  "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
  + FILE_NAME
)
DEFAULT_PATH = pathlib.Path("~/.cache/get_jax") / FILE_NAME
_EPSILON = 1e-3
_NORM = ("weight", "bias", "running_mean", "running_var")


def locate_inception_file(path: str | None = None) -> Path:
  """Returns the path of the checkpoint.

  Args:
    path: Path of the checkpoint; None means `DEFAULT_PATH`.

  Raises:
    UsageError: The file does not exist; the message gives its URL.
  """
  file = as_path(path or DEFAULT_PATH)
  if not file.is_file():
    raise UsageError(
      f"file {file} with the weights of FID's Inception-v3 does not exist: "
      f"download {URL} and save it there"
    )
  return file


@functools.cache
def checkpoint_shapes() -> dict[str, tuple[int, ...]]:
  """Returns the shapes of the 472 arrays of the checkpoint, sorted by name."""
  inputs = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), np.float32)
  params = jax.eval_shape(Inception().init, jax.random.key(0), inputs)
  shapes = {}
  for path, leaf in jax.tree.leaves_with_path(params["params"]):
    *block, _, parameter = (entry.key for entry in path)
    if block == [] and parameter == "bias":
      shapes["fc.bias"] = leaf.shape
    elif block == []:
      shapes["fc.weight"] = leaf.shape[::-1]
    elif parameter == "kernel":
      height, width, in_channels, out_channels = leaf.shape
      name = ".".join([*block, "conv.weight"])
      shapes[name] = (out_channels, in_channels, height, width)
    else:
      for name in _NORM:
        shapes[".".join([*block, "bn", name])] = leaf.shape
  return dict(sorted(shapes.items()))


def inception_params(arrays: Mapping[str, np.ndarray]) -> dict:
  """Converts the checkpoint, with batch normalization folded.

  Args:
    arrays: Arrays of the checkpoint by name (PyTorch's layouts). Batch
      counters and the auxiliary classifier are ignored.

  Returns:
    Parameters of `Inception`, float32.

  Raises:
    UsageError: The arrays belong to another network; torchvision's ImageNet
      weights, of the same family, have a message of their own.
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
    subtree = params
    for name in block.split("."):
      subtree = subtree.setdefault(name, {})
    subtree["conv"] = {
      "kernel": (kernel * scale).astype(np.float32),
      "bias": (bias - mean * scale).astype(np.float32),
    }
  return params


def _check(arrays: Mapping[str, np.ndarray]) -> None:
  expected = checkpoint_shapes()
  classes = len(arrays["fc.weight"]) if "fc.weight" in arrays else None
  if classes == 1000:
    raise UsageError(
      "these are torchvision's Inception-v3 weights (1000 classes), expected "
      f"those of FID's network (1008 classes), {FILE_NAME} from {URL}"
    )
  missing = sorted(expected.keys() - arrays.keys())
  unknown = sorted(arrays.keys() - expected.keys())
  if missing or unknown:
    some = [f"no {key!r}" for key in missing[:2]]
    some += [f"an unknown {key!r}" for key in unknown[:2]]
    raise UsageError(
      f"the Inception weights have {len(missing)} keys missing and "
      f"{len(unknown)} unknown ({', '.join(some)}), expected the "
      f"{len(expected)} keys of {FILE_NAME}"
    )
  for key, shape in expected.items():
    if np.shape(arrays[key]) != shape:
      raise UsageError(
        f"the Inception weights have {key!r} of shape {np.shape(arrays[key])}, "
        f"expected {shape}"
      )


def random_checkpoint(seed: int) -> dict[str, np.ndarray]:
  """Returns random arrays with the names and shapes of the checkpoint.

  They serve to try programs without the real file; distances under them are
  comparable with nothing else.

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


def weights_digest(arrays: Mapping[str, np.ndarray]) -> str:
  """Returns the SHA-256 of the float32 bytes of all arrays, sorted by name."""
  digest = hashlib.sha256()
  for key in checkpoint_shapes():
    digest.update(np.ascontiguousarray(arrays[key], np.float32).tobytes())
  return digest.hexdigest()
