"""Noise/image pairs on disk: an image and a label each, the noise for free.

The noise of pair i is a function of (seed, i), so only the teacher's answer is
stored, in shards of `get_jax.storage.shards`. Pairs that come from elsewhere
(`get_jax.jobs.official_pairs`) bring their noise along.
"""

import dataclasses
import hashlib
import json
import pathlib

import jax
import numpy as np

from get_jax.diffusion.noise import INITIAL, SampleNoise
from get_jax.errors import UsageError
from get_jax.storage.shards import Layout, ShardReader, ShardWriter

FORMAT = "get_jax pairs 2"
DTYPES = ("uint8", "float16", "float32")


@dataclasses.dataclass(frozen=True)
class PairsInfo:
  """How a set of pairs was made; two sets with equal info are equal.

  Attributes:
    count: number of pairs.
    seed: their noise is that of (seed, purpose "pairs", index); None where the
      noise itself is stored.
    image_shape: (H, W, C).
    dtype: "float16" or "float32", or "uint8" for pixels
      floor(clip(127.5 x + 128)).
    num_classes: None where unconditional.
    teacher: digest of the teacher's parameters.
    sampler: name and settings of the teacher's sampler.
    shard_size: pairs per shard.
    noise: `noise_digest` of the pairs' key, for another computer to compare;
      None is not compared.
  """

  count: int
  seed: int | None
  image_shape: tuple[int, int, int]
  dtype: str
  num_classes: int | None
  teacher: str
  sampler: dict
  shard_size: int
  noise: str | None = None

  def __post_init__(self):
    if self.dtype not in DTYPES:
      raise UsageError(
        f"pairs.dtype is {self.dtype!r}; expected one of: {', '.join(DTYPES)}"
      )

  @property
  def num_shards(self) -> int:
    """Number of shards; the last may be shorter."""
    return self.layout.num_shards

  def shard_range(self, shard: int) -> range:
    """Indices of the pairs in a shard."""
    return self.layout.shard_range(shard)

  @property
  def layout(self) -> Layout:
    """What their directory holds."""
    arrays = {"image": (self.dtype, tuple(self.image_shape))}
    if self.num_classes:
      arrays["label"] = ("int32", ())
    if self.seed is None:
      arrays["noise"] = ("float32", tuple(self.image_shape))
    facts = dataclasses.asdict(self)
    for key in ("count", "shard_size"):
      del facts[key]
    return Layout(FORMAT, self.count, self.shard_size, arrays, facts)

  def to_json(self) -> dict:
    """The fields and the format, as JSON holds them."""
    fields = dataclasses.asdict(self)
    return {"format": FORMAT, **json.loads(json.dumps(fields))}


class PairsWriter:
  """Writes the missing shards of a directory, each at once or not at all.

  Args:
    directory: of the pairs.
    info: what it is to hold.
    part: which of the processes that share the work this one is.

  Raises:
    UsageError: the directory holds pairs that were made otherwise.
  """

  def __init__(
    self, directory: str | pathlib.Path, info: PairsInfo, part: int = 0
  ):
    self.info, self.directory = info, pathlib.Path(directory)
    self._writer = ShardWriter(directory, info.layout, part)

  def lock(self) -> None:
    """Keeps other writers out; see `ShardWriter.lock`."""
    self._writer.lock()

  def missing(self) -> list[int]:
    """Numbers of the shards that are not there yet, or not whole."""
    return self._writer.missing()

  def write(
    self,
    shard: int,
    images: np.ndarray,
    labels: np.ndarray | None,
    noise: np.ndarray | None = None,
  ) -> None:
    """Stores images in [-1, 1] (n, H, W, C) and labels (n,) of one shard.

    `noise` (n, H, W, C), of unit variance, is for pairs without a seed.
    """
    arrays = {"image": encode_images(images, self.info.dtype)}
    if labels is not None:
      arrays["label"] = np.asarray(labels, np.int32)
    if noise is not None:
      arrays["noise"] = np.asarray(noise, np.float32)
    self._writer.write(shard, arrays)


class PairsSource:
  """Stored pairs as a source of records: index, image, label.

  Images come back as float32 in [-1, 1]; files are memory-mapped. The noise is
  made where it is used, from `index` and `info.seed`; where `info.seed` is
  None records hold it as "noise".

  Args:
    directory: of the pairs.
    verify: compares the checksums of all shards first.

  Raises:
    UsageError: the directory holds no pairs, or not all of them.
  """

  def __init__(self, directory: str | pathlib.Path, verify: bool = True):
    self.directory = pathlib.Path(directory)
    remake = "run --mode=pairs to make what is missing"
    self._reader = ShardReader(directory, FORMAT, remake, verify)
    layout = self._reader.layout
    self.info = PairsInfo(
      count=layout.count, shard_size=layout.shard_size, **layout.facts
    )
    shape = tuple(self.info.image_shape)
    self.info = dataclasses.replace(self.info, image_shape=shape)
    self.image_shape = shape
    self.num_classes = self.info.num_classes
    content = json.dumps(layout.to_json(), sort_keys=True)
    self.fingerprint = hashlib.sha256(content.encode()).hexdigest()

  def __len__(self) -> int:
    return self.info.count

  def read(
    self, indices: np.ndarray, draws: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Records at `indices` (n,); nothing about them is random."""
    del draws
    records = self._reader.read(indices)
    records["index"] = np.asarray(indices, np.int32)
    records["image"] = decode_images(records["image"])
    return records


def encode_images(images: np.ndarray, dtype: str) -> np.ndarray:
  """Images in [-1, 1] as they are stored: float, or uint8 pixels."""
  if dtype == "uint8":
    return np.clip(images * 127.5 + 128, 0, 255).astype(np.uint8)
  return np.asarray(images, dtype)


def decode_images(stored: np.ndarray) -> np.ndarray:
  """Stored images as float32 in [-1, 1]."""
  if stored.dtype == np.uint8:
    return stored.astype(np.float32) / 127.5 - 1
  return stored.astype(np.float32)


_PROBES = 4


def noise_digest(key: jax.Array, shape: tuple[int, ...]) -> str:
  """SHA-256 of the noise of the first pairs, made on the CPU.

  Args:
    key: of the pairs.
    shape: of one image.
  """
  return hashlib.sha256(_probe(key, shape, "cpu").tobytes()).hexdigest()


def check_noise(info: PairsInfo, key: jax.Array) -> None:
  """Makes sure that this computer makes the noise that the teacher saw.

  The noise must be the stored one to the bit on the CPU, and within rounding
  of it on the device in use.

  Raises:
    UsageError: it is another noise.
  """
  if info.noise is None:
    return
  cpu = _probe(key, info.image_shape, "cpu")
  if hashlib.sha256(cpu.tobytes()).hexdigest() != info.noise:
    raise UsageError(
      "this version of JAX makes other noise than the one that the pairs were "
      "made with; expected the version and flags of then"
    )
  here = _probe(key, info.image_shape, None)
  worst = np.abs(here - cpu).max()
  if not worst < 1e-5:
    raise UsageError(
      f"the {jax.default_backend()} here makes noise that differs from the "
      f"CPU's by {worst:.2g}; expected less than 1e-5"
    )


def _probe(key, shape, platform: str | None) -> np.ndarray:
  device = jax.local_devices(backend=platform)[0]
  with jax.default_device(device):
    # A key belongs to a device; its bits do not.
    bits = np.asarray(jax.random.key_data(key))
    own = jax.random.wrap_key_data(bits)
    noise = SampleNoise.of(own, np.arange(_PROBES))
    return np.asarray(jax.jit(lambda n: n(INITIAL, tuple(shape)))(noise))
