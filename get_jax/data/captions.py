"""Files of captions: MS-COCO's JSON, and one JSON object a line."""

import json
import os
import pathlib
from collections.abc import Iterable

from get_jax.errors import UsageError

Captions = dict[str, list[str]]


def read_captions(path: str | os.PathLike[str]) -> Captions:
  """The captions of each image, by its file name, in the order of the file.

  Args:
    path: `captions_*.json` of MS-COCO; or a `.jsonl` with {"file_name": ...,
      "caption": ...} on each line, one line for each caption. A line without
      file name is of an image of its own.

  Raises:
    UsageError: the file is missing or damaged, or a caption is empty.
  """
  path = pathlib.Path(path)
  try:
    text = path.read_text("utf-8")
  except (OSError, UnicodeDecodeError) as error:
    raise UsageError(f"{path} cannot be read: {error}") from error
  try:
    found = (_lines if path.suffix == ".jsonl" else _coco)(text)
  except (ValueError, LookupError, TypeError, AttributeError) as error:
    raise UsageError(
      f"{path} is no file of captions ({type(error).__name__}: {error}); "
      "expected MS-COCO's JSON with images and annotations, or a .jsonl with "
      "file_name and caption on each line"
    ) from error
  for name, captions in found.items():
    for caption in captions:
      if not isinstance(caption, str) or not caption.strip():
        raise UsageError(f"{path} has the caption {caption!r} of {name}")
  if not found:
    raise UsageError(f"{path} holds no captions")
  return found


def of_images(captions: Captions, names: Iterable[str]) -> list[list[str]]:
  """The captions of images in the order of `names`, which may be paths.

  Raises:
    UsageError: an image has none.
  """
  found = []
  for name in names:
    of_name = captions.get(name) or captions.get(name.rpartition("/")[2])
    if not of_name:
      raise UsageError(f"the image {name} has no captions")
    found.append(of_name)
  return found


def _coco(text: str) -> Captions:
  content = json.loads(text)
  names = {image["id"]: image["file_name"] for image in content["images"]}
  found: Captions = {name: [] for name in names.values()}
  for annotation in sorted(content["annotations"], key=lambda a: a["id"]):
    found[names[annotation["image_id"]]].append(annotation["caption"])
  return {name: captions for name, captions in found.items() if captions}


def _lines(text: str) -> Captions:
  found: Captions = {}
  for number, line in enumerate(text.splitlines(), 1):
    if line.strip():
      record = json.loads(line)
      name = record.get("file_name", f"line {number}")
      found.setdefault(name, []).append(record["caption"])
  return found
