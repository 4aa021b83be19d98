"""Noise/image pairs on disk: an image and a label each, the noise for free.

The noise of pair i is a function of (seed, i), so only the teacher's answer is
stored. A directory holds `manifest.json`, which says how the pairs were made,
and shards of `shard_size` pairs: `00003.image.npy`, `00003.label.npy` and,
written last, `00003.json` with their SHA-256. A shard without its `.json` does
not exist.
"""

import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from get_jax.errors import UsageError

FORMAT = "get_jax pairs 1"


@dataclasses.dataclass(frozen=True)
class PairsInfo:
  """How a set of pairs was made; two sets with equal info are equal.

  Attributes:
    count: number of pairs.
    seed: their noise is that of (seed, purpose "pairs", index).
    image_shape: (H, W, C).
    dtype: "float16", or "uint8" for pixels floor(clip(127.5 x + 128)).
    num_classes: None where unconditional.
    teacher: digest of the teacher's parameters.
    sampler: name and settings of the teacher's sampler.
    shard_size: pairs per shard.
  """

  count: int
  seed: int
  image_shape: tuple[int, int, int]
  dtype: str
  num_classes: int | None
  teacher: str
  sampler: dict
  shard_size: int

  @property
  def num_shards(self) -> int:
    """Number of shards; the last may be shorter."""
    return -(-self.count // self.shard_size)

  def shard_range(self, shard: int) -> range:
    """Indices of the pairs in a shard."""
    start = shard * self.shard_size
    return range(start, min(start + self.shard_size, self.count))

  def to_json(self) -> dict:
    """As the manifest holds it."""
    fields = dataclasses.asdict(self)
    return {"format": FORMAT, **json.loads(json.dumps(fields))}


class PairsWriter:
  """Writes the missing shards of a directory, each at once or not at all.

  Raises:
    UsageError: the directory holds pairs that were made otherwise.
  """

  def __init__(self, directory: str | pathlib.Path, info: PairsInfo):
    self.directory, self.info = pathlib.Path(directory), info
    self.directory.mkdir(parents=True, exist_ok=True)
    path = self.directory / "manifest.json"
    if path.exists():
      found = json.loads(path.read_text("utf-8"))
      wanted = info.to_json()
      keys = sorted(found.keys() | wanted.keys())
      differing = [k for k in keys if found.get(k) != wanted.get(k)]
      if differing:
        raise UsageError(
          f"{self.directory} holds pairs made otherwise: "
          + ", ".join(
            f"{k} is {found.get(k)!r}, expected {wanted.get(k)!r}"
            for k in differing
          )
        )
    else:
      _write_atomically(path, json.dumps(info.to_json(), indent=2).encode())

  def missing(self) -> list[int]:
    """Numbers of the shards that are not there yet."""
    return [
      shard
      for shard in range(self.info.num_shards)
      if not (self.directory / f"{shard:05d}.json").exists()
    ]

  def write(self, shard: int, images: np.ndarray, labels: np.ndarray | None):
    """Stores images in [-1, 1] (n, H, W, C) and labels (n,) of one shard."""
    expected = (len(self.info.shard_range(shard)), *self.info.image_shape)
    if images.shape != expected:
      raise ValueError(f"shard {shard} has {images.shape}, expected {expected}")
    arrays = {"image": encode_images(images, self.info.dtype)}
    if labels is not None:
      arrays["label"] = np.asarray(labels, np.int32)
    digests = {}
    for name, array in arrays.items():
      path = self.directory / f"{shard:05d}.{name}.npy"
      temporary = path.with_suffix(".tmp")
      with temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
      temporary.replace(path)
      digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    record = json.dumps({"sha256": digests, "count": len(images)})
    _write_atomically(self.directory / f"{shard:05d}.json", record.encode())


class PairsSource:
  """Stored pairs as a source of records: index, image, label.

  Images come back as float32 in [-1, 1]; files are memory-mapped. The noise is
  made where it is used, from `index` and `info.seed`.

  Raises:
    UsageError: the directory holds no pairs, or not all of them.
  """

  def __init__(self, directory: str | pathlib.Path):
    self.directory = pathlib.Path(directory)
    path = self.directory / "manifest.json"
    if not path.exists():
      raise UsageError(f"{self.directory} holds no pairs; expected {path.name}")
    manifest = json.loads(path.read_text("utf-8"))
    if manifest.pop("format", None) != FORMAT:
      raise UsageError(f"{path} is of another format; expected {FORMAT!r}")
    manifest["image_shape"] = tuple(manifest["image_shape"])
    self.info = PairsInfo(**manifest)
    self.image_shape = self.info.image_shape
    self.num_classes = self.info.num_classes
    self.fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
    self._shards = [self._open(shard) for shard in range(self.info.num_shards)]

  def _open(self, shard: int) -> dict[str, np.ndarray]:
    if not (self.directory / f"{shard:05d}.json").exists():
      raise UsageError(
        f"{self.directory} lacks shard {shard} of {self.info.num_shards}; "
        "run --mode=pairs to make what is missing"
      )
    names = ["image"] + (["label"] if self.num_classes else [])
    arrays = {}
    for name in names:
      path = self.directory / f"{shard:05d}.{name}.npy"
      try:
        arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
      except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
      if len(arrays[name]) != len(self.info.shard_range(shard)):
        raise UsageError(
          f"{path} holds {len(arrays[name])} records; "
          f"expected {len(self.info.shard_range(shard))}"
        )
    return arrays

  def __len__(self) -> int:
    return self.info.count

  def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Records at `indices` (n,)."""
    shards, rows = np.divmod(indices, self.info.shard_size)
    records = {"index": np.asarray(indices, np.int32)}
    for name in self._shards[0]:
      like = self._shards[0][name]
      records[name] = np.empty((len(indices), *like.shape[1:]), like.dtype)
    for shard in np.unique(shards):
      here = shards == shard
      for name, array in self._shards[shard].items():
        records[name][here] = array[rows[here]]
    records["image"] = decode_images(records["image"])
    return records


def encode_images(images: np.ndarray, dtype: str) -> np.ndarray:
  """Images in [-1, 1] as they are stored: float16, or uint8 pixels."""
  if dtype == "uint8":
    return np.clip(images * 127.5 + 128, 0, 255).astype(np.uint8)
  return np.asarray(images, dtype)


def decode_images(stored: np.ndarray) -> np.ndarray:
  """Stored images as float32 in [-1, 1]."""
  if stored.dtype == np.uint8:
    return stored.astype(np.float32) / 127.5 - 1
  return stored.astype(np.float32)


def _write_atomically(path: pathlib.Path, content: bytes) -> None:
  temporary = path.with_suffix(".tmp")
  temporary.write_bytes(content)
  temporary.replace(path)
