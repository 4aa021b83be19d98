"""Reads caption files: MS-COCO's JSON, or one JSON object a line."""

import os
from collections.abc import Iterable

from get_jax.errors import UsageError, printable, shorten
from get_jax.storage.json_files import parse_json
from get_jax.storage.paths import as_path

Captions = dict[str, list[str]]


def read_captions(path: str | os.PathLike[str]) -> Captions:
  """Reads the captions of each image, in the order of the file.

  Args:
    path: `captions_*.json` of MS-COCO; or a `.jsonl` with {"file_name": ...,
      "caption": ...} on each line, one line per caption. A line without
      "file_name" belongs to an image of its own.

  Returns:
    The captions of each image, by its file name.

  Raises:
    UsageError: the file is missing or damaged, or a caption is empty.
  """
  file = as_path(path)
  try:
    text = file.read_text("utf-8")
  except (OSError, UnicodeDecodeError) as error:
    raise UsageError(f"{path} cannot be read: {error}") from error
  try:
    captions = (_parse_lines if file.suffix == ".jsonl" else _parse_coco)(text)
  except (ValueError, LookupError, TypeError, AttributeError) as error:
    raise UsageError(
      f"{path} is not a caption file ({type(error).__name__}: {error}); "
      "expected MS-COCO's JSON with images and annotations, or a .jsonl with "
      "file_name and caption on each line"
    ) from error
  for name, of_image in captions.items():
    for caption in of_image:
      if not isinstance(caption, str) or not caption.strip():
        raise UsageError(
          f"{path} has the caption {shorten(caption)} of {printable(name)}; "
          "expected a text"
        )
  if not captions:
    raise UsageError(f"{path} contains no captions")
  return captions


def captions_of_images(
  captions: Captions, names: Iterable[str]
) -> list[list[str]]:
  """Returns the captions of images, in the order of `names`.

  Args:
    captions: captions by file name.
    names: file names, or paths that end in them.

  Raises:
    UsageError: an image has no captions.
  """
  result = []
  for name in names:
    of_image = captions.get(name) or captions.get(name.rpartition("/")[2])
    if not of_image:
      raise UsageError(f"the image {name} has no captions")
    result.append(of_image)
  return result


def _parse_coco(text: str) -> Captions:
  content = parse_json(text)
  names = {image["id"]: image["file_name"] for image in content["images"]}
  captions: Captions = {name: [] for name in names.values()}
  for annotation in sorted(content["annotations"], key=lambda a: a["id"]):
    captions[names[annotation["image_id"]]].append(annotation["caption"])
  return {name: of_image for name, of_image in captions.items() if of_image}


def _parse_lines(text: str) -> Captions:
  captions: Captions = {}
  for number, line in enumerate(text.splitlines(), 1):
    if line.strip():
      record = parse_json(line)
      name = record.get("file_name", f"line {number}")
      captions.setdefault(name, []).append(record["caption"])
  return captions
