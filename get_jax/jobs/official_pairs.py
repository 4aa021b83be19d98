"""The official GET data set in and out of our format.

python -m get_jax.jobs.official_pairs import OFFICIAL_DIR PAIRS_DIR
python -m get_jax.jobs.official_pairs export PAIRS_DIR OFFICIAL_DIR

The official one has `latent/000012499.pkl` and `image/000012499.pkl`, archives
of torch.save that hold thousands of pairs each, channels first. Its noise came
from a GPU's generator and cannot be made again, so imported pairs keep it.
"""

import argparse
import hashlib
import io
import pathlib
import sys
import zipfile

import jax
import numpy as np
from tqdm import tqdm

from get_jax.diffusion.noise import INITIAL, SampleNoise
from get_jax.distillation.pairs import PairsInfo, PairsSource, PairsWriter
from get_jax.errors import UsageError
from get_jax.interop.formats.read import read_checkpoint
from get_jax.training.rng import named_key


def read_official(directory: pathlib.Path):
  """Yields (noise, image, label) of each file, in the order of their numbers.

  Arrays are NHWC, noise float32 of unit variance, images as they were stored
  (float64 in the unconditional set), labels int32 or None; the conditional
  set's one-hot rows become class numbers.

  Raises:
    UsageError: files are missing, damaged or do not belong together.
  """
  for latent_path, image_path in _files(directory):
    latent, image = read_checkpoint(latent_path), read_checkpoint(image_path)
    label = None
    if isinstance(latent, list | tuple) and len(latent) == 2:
      latent, one_hot = latent
      label = np.argmax(one_hot, axis=-1).astype(np.int32)
    shapes = [getattr(x, "shape", None) for x in (latent, image)]
    if shapes[0] != shapes[1] or len(shapes[0] or ()) != 4:
      raise UsageError(
        f"{latent_path} and {image_path} hold arrays of {shapes[0]} and "
        f"{shapes[1]}; expected (N, C, H, W) twice"
      )
    yield (
      np.moveaxis(np.asarray(latent, np.float32), 1, -1),
      np.moveaxis(np.asarray(image), 1, -1),
      label,
    )


def _files(directory: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
  names = {
    kind: {p.name for p in (directory / kind).glob("*.pkl")}
    for kind in ("latent", "image")
  }
  if not names["latent"] and not names["image"]:
    raise UsageError(
      f"{directory} holds no official pairs; expected latent/*.pkl, image/*.pkl"
    )
  if alone := sorted(names["latent"] ^ names["image"]):
    there = "latent" if alone[0] in names["latent"] else "image"
    raise UsageError(f"{directory} has {alone[0]} in {there}/ alone")
  try:
    ordered = sorted(names["latent"], key=lambda name: int(name[:-4]))
  except ValueError:
    raise UsageError(f"{directory} has names that are no numbers") from None
  return [(directory / "latent" / n, directory / "image" / n) for n in ordered]


def import_pairs(
  directory: pathlib.Path, target: pathlib.Path, dtype: str = "float32"
) -> PairsInfo:
  """Writes the official pairs in `directory` as ours; goes on if stopped.

  Args:
    directory: of the official data set.
    target: of ours; its shards are the official files.
    dtype: "float32", "float16" or "uint8".
  """
  files = _files(directory)
  counts, classes, shape = [], None, None
  for latent_path, _ in tqdm(files, "counting"):
    latent = read_checkpoint(latent_path)
    if isinstance(latent, list | tuple):
      latent, one_hot = latent
      classes = one_hot.shape[1]
    counts.append(len(latent))
    shape = latent.shape[1:]
  if len(set(counts[:-1])) > 1 or counts[-1] > counts[0]:
    raise UsageError(
      f"the files of {directory} hold {sorted(set(counts))} pairs; expected "
      "equally many in all but the last"
    )
  names = "".join(f"{p.name}\n" for p, _ in files)
  info = PairsInfo(
    count=sum(counts),
    seed=None,
    image_shape=(*shape[1:], shape[0]),
    dtype=dtype,
    num_classes=classes,
    teacher=f"official {hashlib.sha256(names.encode()).hexdigest()[:16]}",
    sampler={"name": "official GET data set"},
    shard_size=counts[0],
  )
  writer = PairsWriter(target, info)
  missing = set(writer.missing())
  bar = tqdm(read_official(directory), "importing", total=len(files))
  for shard, (noise, image, label) in enumerate(bar):
    if shard in missing:
      writer.write_pairs(shard, image, label, noise)
  return info


def export_pairs(directory: pathlib.Path, target: pathlib.Path) -> None:
  """Writes our pairs in the official format, one file a shard.

  Unconditional images are float64 there and conditional ones float32, as the
  official scripts leave them.
  """
  source = PairsSource(directory)
  info = source.info
  for kind in ("latent", "image"):
    (target / kind).mkdir(parents=True, exist_ok=True)
  draw = None
  if info.seed is not None:
    key = named_key(info.seed, "pairs")
    draw = jax.jit(
      lambda index: SampleNoise.create(key, index)(INITIAL, info.image_shape)
    )
  for shard in tqdm(range(info.num_shards), "exporting"):
    indices = np.asarray(info.shard_range(shard))
    records = source.read(indices)
    noise = records["noise"] if draw is None else np.asarray(draw(indices))
    latent: list | np.ndarray = _nchw(noise, np.float32)
    image = _nchw(records["image"], np.float64)
    if info.num_classes:
      one_hot = np.eye(info.num_classes, dtype=np.float32)[records["label"]]
      latent, image = [latent, one_hot], image.astype(np.float32)
    name = f"{indices[-1]:09d}"
    for kind, content in (("latent", latent), ("image", image)):
      temporary = target / kind / f"{name}.tmp"
      temporary.write_bytes(_torch_zip(name, content))
      temporary.replace(target / kind / f"{name}.pkl")


def _nchw(x: np.ndarray, dtype) -> np.ndarray:
  return np.ascontiguousarray(np.moveaxis(x, -1, 1), dtype)


_STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage"}


def _torch_zip(root: str, content: np.ndarray | list[np.ndarray]) -> bytes:
  """What torch.save writes for tensors, made without torch.

  The pickle is spelt out opcode by opcode, as there is no class to pickle.
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
  """Calls _rebuild_tensor_v2(storage, 0, shape, strides, False, {})."""
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


def _numbers(values) -> bytes:
  return b"(" + b"".join(_number(v) for v in values) + b"t"


def main(arguments: list[str] | None = None) -> int:
  """Imports or exports; 2 where the files do not allow it."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("way", choices=("import", "export"))
  parser.add_argument("source", type=pathlib.Path)
  parser.add_argument("target", type=pathlib.Path)
  parser.add_argument(
    "--dtype", default="float32", choices=("float32", "float16", "uint8")
  )
  given = parser.parse_args(arguments)
  try:
    if given.way == "import":
      import_pairs(given.source, given.target, given.dtype)
    else:
      export_pairs(given.source, given.target)
  except UsageError as error:
    print(error, file=sys.stderr)
    return 2
  return 0


if __name__ == "__main__":
  sys.exit(main())
