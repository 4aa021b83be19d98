"""Noise/image pairs on disk: images and labels, with reproducible noise.

The noise of pair i is a function of (seed, i), so only the teacher's image and
the label are stored, in shards of `get_jax.storage.shards`. Imported pairs
(`get_jax.jobs.official_pairs`) store their noise too.
"""

import dataclasses
import hashlib
import json
from types import NoneType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.noise import INITIAL, SampleNoise
from get_jax.errors import UsageError, shorten
from get_jax.storage.paths import StrPath, as_path
from get_jax.storage.shard_reader import ShardReader
from get_jax.storage.shards import (
  Layout,
  ShardWriter,
  read_fact,
  reading_manifest,
)

FORMAT = "get_jax pairs 2"
DTYPES = ("uint8", "float16", "float32")
NUM_PROBES = 4  # pairs whose noise is compared


@dataclasses.dataclass(frozen=True)
class PairsInfo:
  """How a set of pairs was made; sets with equal info are equal.

  Attributes:
    count: number of pairs.
    seed: the noise is a function of (seed, purpose "pairs", index); None if
      the noise itself is stored.
    image_shape: (H, W, C).
    dtype: "float16" or "float32", or "uint8" for pixels
      floor(clip(127.5 x + 128)).
    num_classes: number of classes; None if unconditional.
    teacher: digest of the teacher's parameters.
    sampler: name and settings of the teacher's sampler.
    shard_size: pairs per shard.
    noise: `noise_digest` of the pairs' key, to compare on another machine;
      None is not compared.
  """

  count: int
  seed: int | None
  image_shape: tuple[int, int, int]
  dtype: str
  num_classes: int | None
  teacher: str
  sampler: dict[str, Any]
  shard_size: int
  noise: str | None = None

  def __post_init__(self):
    if self.count >= 2**31:
      raise UsageError(
        f"there are {self.count} pairs; expected fewer than {2**31}, because "
        "their indices have 32 bits"
      )
    if self.dtype not in DTYPES:
      raise UsageError(
        f"pairs.dtype is {shorten(self.dtype)}; expected one of: "
        + ", ".join(DTYPES)
      )

  @property
  def num_shards(self) -> int:
    """Number of shards; the last may be shorter."""
    return self.layout.num_shards

  def shard_range(self, shard: int) -> range:
    """Returns the indices of the pairs in a shard."""
    return self.layout.shard_range(shard)

  @property
  def layout(self) -> Layout:
    """The layout of the pairs' directory."""
    shape = tuple(self.image_shape)
    arrays: dict[str, tuple[str, tuple[int, ...]]] = {
      "image": (self.dtype, shape)
    }
    if self.num_classes:
      arrays["label"] = ("int32", ())
    if self.seed is None:
      arrays["noise"] = ("float32", shape)
    facts = dataclasses.asdict(self)
    for key in ("count", "shard_size"):
      del facts[key]
    return Layout(FORMAT, self.count, self.shard_size, arrays, facts)

  def to_json(self) -> dict[str, Any]:
    """Returns the format and the fields as JSON values."""
    fields = dataclasses.asdict(self)
    return {"format": FORMAT, **json.loads(json.dumps(fields))}


class PairsWriter(ShardWriter):
  """Writes the missing shards of a directory of pairs.

  Args:
    directory: directory of the pairs.
    info: content of the directory.
    process_index: see `ShardWriter`.

  Raises:
    UsageError: the directory holds pairs made with other settings.
  """

  def __init__(
    self,
    directory: StrPath,
    info: PairsInfo,
    process_index: int = 0,
  ):
    super().__init__(directory, info.layout, process_index)
    self.info = info

  def write_pairs(
    self,
    shard: int,
    images: np.ndarray,
    labels: np.ndarray | None,
    noise: np.ndarray | None = None,
  ) -> None:
    """Writes the pairs of a shard atomically; see `ShardWriter.write`.

    Args:
      shard: number of the shard.
      images: the teacher's images in [-1, 1], (n, H, W, C).
      labels: class labels (n,), or None.
      noise: noise of unit variance (n, H, W, C), for pairs without a seed.
    """
    arrays = {"image": encode_images(images, self.info.dtype)}
    if labels is not None:
      arrays["label"] = np.asarray(labels, np.int32)
    if noise is not None:
      arrays["noise"] = np.asarray(noise, np.float32)
    self.write(shard, arrays)


class PairsSource:
  """Stored pairs as a data source: records of index, image and label.

  Images are returned as float32 in [-1, 1]; files are memory-mapped. The user
  of a record computes its noise from `index` and `info.seed`. If `info.seed` is
  None, records hold it as "noise".

  Args:
    directory: directory of the pairs.
    verify: compares the checksums of all shards first.

  Raises:
    UsageError: the directory holds no pairs, or shards are missing or damaged.
  """

  def __init__(self, directory: StrPath, verify: bool = True):
    self.directory = as_path(directory)
    hint = "run --mode=pairs to make the missing shards"
    self._reader = ShardReader(directory, FORMAT, hint, verify)
    layout = self._reader.layout
    with reading_manifest(directory):
      height, width, channels = layout.arrays["image"][1]
      self.image_shape = (height, width, channels)
      self.info = PairsInfo(
        count=layout.count,
        shard_size=layout.shard_size,
        **{**layout.facts, "image_shape": self.image_shape},
      )
      for name in ("seed", "num_classes"):
        read_fact(layout, name, int, NoneType)
      if self.info.layout.arrays != layout.arrays:
        raise ValueError("its arrays are not those of its facts")
    self.num_classes = self.info.num_classes
    self.fingerprint = layout.fingerprint

  def __len__(self) -> int:
    return self.info.count

  def read(
    self, indices: np.ndarray, bits: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Returns the pairs at `indices` (n,); see `get_jax.data.Source.read`.

    Nothing is random about pairs, so `bits` are not used.
    """
    del bits
    records = self._reader.read(indices)
    records["index"] = np.asarray(indices, np.int32)
    records["image"] = decode_images(records["image"])
    return records


def encode_images(images: np.ndarray, dtype: str) -> np.ndarray:
  """Converts images in [-1, 1] to the stored dtype: float or uint8 pixels."""
  if dtype == "uint8":
    return np.clip(images * 127.5 + 128, 0, 255).astype(np.uint8)
  return np.asarray(images, dtype)


def decode_images(stored: np.ndarray) -> np.ndarray:
  """Converts stored images to float32 in [-1, 1]."""
  if stored.dtype == np.uint8:
    return stored.astype(np.float32) / 127.5 - 1
  return stored.astype(np.float32)


def noise_digest(key: jax.Array, shape: tuple[int, ...]) -> str:
  """Returns the SHA-256 of the noise of the first pairs, computed on the CPU.

  Args:
    key: PRNG key of the pairs.
    shape: shape of one image.
  """
  return hashlib.sha256(_probe(key, shape, "cpu").tobytes()).hexdigest()


def check_noise(info: PairsInfo, key: jax.Array) -> None:
  """Checks that this machine computes the noise that the teacher used.

  On the CPU the noise must be bit-identical to the teacher's. On the default
  device it must equal the CPU's within rounding.

  Args:
    info: the pairs; nothing is checked if `info.noise` is None.
    key: PRNG key of the pairs.

  Raises:
    UsageError: the noise differs.
  """
  if info.noise is None:
    return
  cpu = _probe(key, info.image_shape, "cpu")
  if hashlib.sha256(cpu.tobytes()).hexdigest() != info.noise:
    raise UsageError(
      "this version of JAX generates other noise than the one that the pairs "
      "were made with; expected the same version and flags"
    )
  difference = np.abs(_probe(key, info.image_shape, None) - cpu).max()
  if not difference < 1e-5:
    raise UsageError(
      f"the {jax.default_backend()} here generates noise that differs from the "
      f"CPU's by {difference:.2g}; expected less than 1e-5"
    )


def _probe(
  key: jax.Array, shape: tuple[int, ...], platform: str | None
) -> np.ndarray:
  """Returns the noise of the first pairs, computed on a platform's device."""
  device = jax.local_devices(backend=platform)[0]
  with jax.default_device(device):
    # A key is committed to a device, so it is made anew from its data.
    data = np.asarray(jax.random.key_data(key))
    own_key = jax.random.wrap_key_data(jnp.asarray(data))
    noise = SampleNoise.create(own_key, np.arange(NUM_PROBES))
    return np.asarray(jax.jit(lambda n: n(INITIAL, tuple(shape)))(noise))
