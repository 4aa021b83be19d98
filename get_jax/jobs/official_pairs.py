"""Imports and exports the official GET data set of noise/image pairs.

python -m get_jax.jobs.official_pairs import OFFICIAL_DIR PAIRS_DIR
python -m get_jax.jobs.official_pairs export PAIRS_DIR OFFICIAL_DIR

The official data set has files such as latent/000012499.pkl and
image/000012499.pkl, written by torch.save, with thousands of pairs each,
channels first. Its noise was generated on a GPU and cannot be reproduced, so
imported pairs store it.
"""

import argparse
import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from get_jax.diffusion.noise import INITIAL, SampleNoise
from get_jax.distillation.pairs import PairsInfo, PairsSource, PairsWriter
from get_jax.errors import UsageError
from get_jax.interop.formats.read import read_checkpoint
from get_jax.progress import ProgressBar, print_ending
from get_jax.storage.paths import Path, as_path, write_bytes
from get_jax.training.rng import named_key


def read_official(
  directory: Path,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
  """Reads the official pairs file by file, in the order of their numbers.

  Args:
    directory: directory of the official data set.

  Yields:
    noise (n, H, W, C), float32 of unit variance; images (n, H, W, C) with the
    stored dtype (float64 in the unconditional set); class labels (n,), int32,
    from the one-hot rows of the conditional set, or None.

  Raises:
    UsageError: files are missing, damaged or do not match.
  """
  for latent_path, image_path in _find_files(directory):
    latent, image = read_checkpoint(latent_path), read_checkpoint(image_path)
    label = None
    if isinstance(latent, list | tuple) and len(latent) == 2:
      latent, one_hot = latent
      label = np.argmax(one_hot, axis=-1).astype(np.int32)
    shapes = [getattr(x, "shape", None) for x in (latent, image)]
    if shapes[0] != shapes[1] or len(shapes[0] or ()) != 4:
      raise UsageError(
        f"{latent_path} and {image_path} hold arrays of shape {shapes[0]} and "
        f"{shapes[1]}; expected (N, C, H, W) in both"
      )
    yield (
      np.moveaxis(np.asarray(latent, np.float32), 1, -1),
      np.moveaxis(np.asarray(image), 1, -1),
      label,
    )


def _find_files(
  directory: Path,
) -> list[tuple[Path, Path]]:
  """Returns the files of noise and images, in the order of their numbers."""
  names = {
    folder: {p.name for p in (directory / folder).glob("*.pkl")}
    for folder in ("latent", "image")
  }
  if not names["latent"] and not names["image"]:
    raise UsageError(
      f"{directory} holds no official pairs; expected latent/*.pkl, image/*.pkl"
    )
  if unmatched := sorted(names["latent"] ^ names["image"]):
    folder = "latent" if unmatched[0] in names["latent"] else "image"
    raise UsageError(
      f"{directory} has {unmatched[0]} in {folder}/ only; expected it in "
      "latent/ and image/"
    )
  try:
    ordered = sorted(names["latent"], key=lambda name: int(name[:-4]))
  except ValueError:
    raise UsageError(
      f"{directory} has files whose name is not a number"
    ) from None
  return [(directory / "latent" / n, directory / "image" / n) for n in ordered]


def import_pairs(
  directory: Path, target: Path, dtype: str = "float32"
) -> PairsInfo:
  """Imports the official pairs; an interrupted import is resumed.

  Args:
    directory: directory of the official data set.
    target: directory for the imported pairs; each official file becomes one
      shard.
    dtype: dtype of the imported images: "float32", "float16" or "uint8".

  Returns:
    The information on the imported pairs.

  Raises:
    UsageError: files are missing, damaged or do not match.
  """
  files = _find_files(directory)
  counts, num_classes = [], None
  image_shape = (0, 0, 0)
  for latent_path, _ in ProgressBar(files, "counting"):
    latent = read_checkpoint(latent_path)
    if isinstance(latent, list | tuple):
      latent, one_hot = latent
      num_classes = one_hot.shape[1]
    counts.append(len(latent))
    channels, height, width = latent.shape[1:]
    image_shape = (height, width, channels)
  if len(set(counts[:-1])) > 1 or counts[-1] > counts[0]:
    raise UsageError(
      f"the files of {directory} hold {sorted(set(counts))} pairs; expected "
      "the same number in all but the last, and not more in the last"
    )
  names = "".join(f"{p.name}\n" for p, _ in files)
  info = PairsInfo(
    count=sum(counts),
    seed=None,
    image_shape=image_shape,
    dtype=dtype,
    num_classes=num_classes,
    teacher=f"official {hashlib.sha256(names.encode()).hexdigest()[:16]}",
    sampler={"name": "official GET data set"},
    shard_size=counts[0],
  )
  writer = PairsWriter(target, info)
  missing = set(writer.missing())
  bar = ProgressBar(read_official(directory), "importing", total=len(files))
  for shard, (noise, images, labels) in enumerate(bar):
    if shard in missing:
      writer.write_pairs(shard, images, labels, noise)
  return info


def export_pairs(directory: Path, target: Path) -> None:
  """Exports pairs in the official format, one file per shard.

  Images are float64 in an unconditional set and float32 in a conditional set,
  as written by the official scripts.

  Args:
    directory: directory of the pairs.
    target: directory for the official data set.

  Raises:
    UsageError: the directory holds no pairs, or shards are missing or damaged.
  """
  source = PairsSource(directory)
  info = source.info
  make_noise = None
  if info.seed is not None:
    key = named_key(info.seed, "pairs")
    make_noise = jax.jit(
      lambda index: SampleNoise.create(key, index)(INITIAL, info.image_shape)
    )
  for shard in ProgressBar(range(info.num_shards), "exporting"):
    indices = np.asarray(info.shard_range(shard))
    records = source.read(indices)
    if make_noise is None:
      noise = records["noise"]
    else:
      noise = np.asarray(make_noise(indices))
    latent: list | np.ndarray = _nchw(noise, np.float32)
    image = _nchw(records["image"], np.float64)
    if info.num_classes:
      one_hot = np.eye(info.num_classes, dtype=np.float32)[records["label"]]
      latent, image = [latent, one_hot], image.astype(np.float32)
    name = f"{indices[-1]:09d}"
    for folder, content in (("latent", latent), ("image", image)):
      write_bytes(target / folder / f"{name}.pkl", _torch_zip(name, content))


def _nchw(x: np.ndarray, dtype: type[np.floating]) -> np.ndarray:
  return np.ascontiguousarray(np.moveaxis(x, -1, 1), dtype)


_STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage"}


def _torch_zip(root: str, content: np.ndarray | list[np.ndarray]) -> bytes:
  """Returns what torch.save writes for tensors, without torch.

  The pickle is assembled from opcodes, because torch's classes are missing.

  Args:
    root: name of the folder in the archive.
    content: one array, or a list of arrays.
  """
  arrays = content if isinstance(content, list) else [content]
  tensors = [_tensor(number, array) for number, array in enumerate(arrays)]
  body = tensors[0]
  if isinstance(content, list):
    body = b"](" + b"".join(tensors) + b"e"
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
    archive.writestr(f"{root}/data.pkl", b"\x80\x02" + body + b".")
    archive.writestr(f"{root}/byteorder", "little")
    for number, array in enumerate(arrays):
      little = array.astype(array.dtype.newbyteorder("<"))
      archive.writestr(f"{root}/data/{number}", little.tobytes())
    archive.writestr(f"{root}/version", "3\n")
  return file.getvalue()


def _tensor(number: int, array: np.ndarray) -> bytes:
  """Returns the pickle of a tensor.

  Unpickling it calls
  _rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict()).
  """
  strides = [s // array.itemsize for s in array.strides]
  storage = (
    b"(" + _text("storage") + b"ctorch\n" + _STORAGES[array.dtype.name].encode()
    + b"\n" + _text(str(number)) + _text("cpu") + _number(array.size) + b"tQ"
  )  # fmt: skip
  return (
    b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _number(0)
    + _numbers(array.shape) + _numbers(strides) + b"\x89"
    + b"ccollections\nOrderedDict\n)RtR"
  )  # fmt: skip


def _text(value: str) -> bytes:
  return b"X" + len(value).to_bytes(4, "little") + value.encode()


def _number(value: int) -> bytes:
  return b"\x8a\x08" + int(value).to_bytes(8, "little", signed=True)


def _numbers(values: Sequence[int]) -> bytes:
  return b"(" + b"".join(_number(v) for v in values) + b"t"


def main(arguments: list[str] | None = None) -> int:
  """Imports or exports pairs.

  Args:
    arguments: command line arguments; None reads `sys.argv`.

  Returns:
    Exit code: 0 if done; 2 for invalid input, with one sentence on stderr.
  """
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "direction",
    choices=("import", "export"),
    help="import the official data set, or export pairs to its format",
  )
  parser.add_argument("source", type=as_path, help="directory to read")
  parser.add_argument("target", type=as_path, help="directory to write")
  parser.add_argument(
    "--dtype",
    default="float32",
    choices=("float32", "float16", "uint8"),
    help="dtype of imported images (default: %(default)s)",
  )
  args = parser.parse_args(arguments)
  try:
    if args.direction == "import":
      import_pairs(args.source, args.target, args.dtype)
    else:
      export_pairs(args.source, args.target)
  except UsageError as error:
    print_ending("Failed", str(error))
    return 2
  print_ending("Finished", f"pairs of {args.source} in {args.target}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
