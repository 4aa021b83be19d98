"""Which files of a folder or zip are images, and of which class."""

import io
import json
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from get_jax.data import create_source, open_images
from get_jax.errors import UsageError


def png(value):
  file = io.BytesIO()
  Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(file, "png")
  return file.getvalue()


def write(root, names, as_zip=False):
  """Writes images, other content, and empty folders (names end in "/")."""
  names = {n: None for n in names} if not isinstance(names, dict) else names
  contents = {
    name: png(i) if content is None else content
    for i, (name, content) in enumerate(names.items())
  }
  if as_zip:
    with zipfile.ZipFile(root / "x.zip", "w") as file:
      for name, content in contents.items():
        file.writestr(name, b"" if name.endswith("/") else content)
    return root / "x.zip"
  for name, content in contents.items():
    path = root / "x" / name
    if name.endswith("/"):
      path.mkdir(parents=True, exist_ok=True)
    else:
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content)
  return root / "x"


@pytest.fixture(params=[False, True], ids=["folder", "zip"])
def as_zip(request):
  return request.param


def source(path, **settings):
  return create_source("images", path=path, image_size=8, **settings)


JUNK = [
  "__MACOSX/cats/._0.png",
  ".ipynb_checkpoints/0-checkpoint.png",
  "cats/.ipynb_checkpoints/0.png",
  "cats/._0.png",
  "cats/.0.png.swp.png",
  ".git/objects/0.png",
  "@eaDir/0.png",
  "$RECYCLE.BIN/0.png",
  "System Volume Information/0.png",
  "lost+found/",
]


def test_hidden_files_and_system_folders_do_not_count(tmp_path, as_zip):
  names = ["cats/0.png", "dogs/0.png", "dogs/1.png"]
  path = write(tmp_path, [*names, *JUNK, "cats/Thumbs.db"], as_zip)
  found = source(path)
  assert found.names == names
  assert found.classes == ["cats", "dogs"]
  assert found.labels.tolist() == [0, 1, 1]
  assert found.summary()["skipped"] == {"hidden": len(JUNK)}
  assert list(open_images(path).names) == names


def test_a_hidden_folder_above_the_data_does_not_hide_it(tmp_path):
  (tmp_path / ".cache").mkdir()
  path = write(tmp_path / ".cache", ["a/0.png", "b/0.png"])
  assert len(source(path)) == 2


@pytest.mark.parametrize("top", ["", "pets/", "data/pets/", "a/b/c/"])
@pytest.mark.parametrize("split", ["", "train"])
def test_a_common_top_folder_is_no_class(tmp_path, as_zip, top, split):
  inner = f"{top}{split}/" if split else top
  names = [f"{inner}{n}" for n in ("cats/0.png", "dogs/x/0.png")]
  if split:
    names.append(f"{top}test/cats/0.png")
  found = source(write(tmp_path, [*names, *JUNK[:2]], as_zip), split=split)
  assert found.classes == ["cats", "dogs"]
  assert found.labels.tolist() == [0, 1]
  assert found.names == ["cats/0.png", "dogs/x/0.png"]
  assert len(found.read(np.arange(2))["image"]) == 2


def test_the_folder_of_the_only_class_stays(tmp_path, as_zip):
  found = source(write(tmp_path, ["a/0.png", "a/1.png"], as_zip))
  assert found.classes == ["a"]
  (tmp_path / "deep").mkdir()
  found = source(write(tmp_path / "deep", ["pets/a/0.png"], as_zip))
  assert found.classes == ["a"]


@pytest.mark.parametrize("junk", ["", ".keep", "readme.txt", "._0.png"])
@pytest.mark.parametrize("top", ["", "pets/"])
def test_a_class_folder_without_images_is_named(tmp_path, as_zip, junk, top):
  names = {f"{top}{n}/0.png": None for n in ("ants", "cats")}
  names[f"{top}birds/{junk}"] = b"junk"
  path = write(tmp_path, names, as_zip)
  message = r"the class folder .*birds contains no images; expected at least"
  with pytest.raises(UsageError, match=message):
    source(path)
  assert len(source(path, labels=False)) == 2


def test_an_image_outside_the_class_folders_is_named(tmp_path, as_zip):
  path = write(tmp_path, ["cats/0.png", "dogs/0.png", "logo.png"], as_zip)
  with pytest.raises(UsageError, match=r"logo\.png is in no class folder"):
    source(path)
  (tmp_path / "deep").mkdir()
  names = ["pets/cats/0.png", "pets/dogs/0.png", "pets/logo.png"]
  path = write(tmp_path / "deep", names, as_zip)
  with pytest.raises(UsageError, match=r"pets/logo\.png is in no class folder"):
    source(path)


def test_splits_are_no_classes(tmp_path, as_zip):
  names = ["train/a/0.png", "train/b/0.png", "test/a/0.png"]
  path = write(tmp_path, names, as_zip)
  with pytest.raises(UsageError, match="splits test, train and no classes"):
    source(path)
  assert source(path, split="train").classes == ["a", "b"]


def test_links_to_folders_are_followed(tmp_path):
  path = write(tmp_path, ["cats/0.png"])
  other = tmp_path / "elsewhere"
  other.mkdir()
  (other / "0.png").write_bytes(png(7))
  os.symlink(other, path / "dogs")
  os.symlink(path, path / "cats" / "loop")
  found = source(path)
  assert found.names == ["cats/0.png", "dogs/0.png"]


def test_names_that_other_programs_write_into_zips(tmp_path):
  path = write(tmp_path, ["./a/0.png", "/b/0.png", "c\\0.png"], as_zip=True)
  found = source(path)
  assert found.names == ["a/0.png", "b/0.png", "c/0.png"]
  pixels = np.round((found.read(np.arange(3))["image"][:, 0, 0, 0] + 1) * 127.5)
  np.testing.assert_array_equal(pixels, [0, 1, 2])


def test_other_files_are_counted_by_ending(tmp_path, as_zip):
  names = {"a/0.PnG": None, "a/1.heic": b"", "a/2.HEIC": b"", "a/list": b""}
  found = source(write(tmp_path, names, as_zip))
  assert found.summary() == {
    "location": f"{tmp_path / ('x.zip' if as_zip else 'x')}/",
    "images": 1,
    "broken": {},
    "skipped": {".heic": 2, "without ending": 1},
    "classes": {"a": 1},
    "orientation": "exif",
    "background": [255, 255, 255],
  }


def lines(*rows):
  return "\n".join(json.dumps(row) for row in rows).encode()


@pytest.mark.parametrize("key", ["label", "kind"])
@pytest.mark.parametrize("values", [[2, 0], ["dog", "cat"]])
def test_metadata_of_hugging_face(tmp_path, as_zip, key, values):
  rows = [
    {"file_name": name, key: value, "text": "a picture"}
    for name, value in zip(["b.png", "in/a.png"], values, strict=True)
  ]
  names = {
    "train/b.png": None,
    "train/in/a.png": None,
    "train/metadata.jsonl": lines(*rows) + b"\n",
    "test/c.png": None,
  }
  path = write(tmp_path, names, as_zip)
  found = source(path, split="train", label_key=key)
  assert found.names == ["b.png", "in/a.png"]
  assert found.labels.tolist() == ([2, 0] if values[0] == 2 else [1, 0])
  assert found.num_classes == (3 if values[0] == 2 else 2)


@pytest.mark.parametrize(
  "rows, message",
  [
    ([{"file_name": "0.png", "label": 1}], "has no 'label' of 1.png"),
    ([{"label": 1}], "line 1 of .*metadata.jsonl is damaged"),
    (
      [{"file_name": f"{i}.png", "label": 1} for i in range(3)],
      "names 2.png, which is no image",
    ),
    (
      [{"file_name": f"{i}.png", "label": i - 1} for i in range(2)],
      "has the label -1; expected an integer from 0",
    ),
    (
      [{"file_name": f"{i}.png", "label": [i, "a"][i]} for i in range(2)],
      "has the label 'a'; expected an integer from 0",
    ),
  ],
)
def test_wrong_metadata_is_refused(tmp_path, rows, message):
  names = {"0.png": None, "1.png": None, "metadata.jsonl": lines(*rows)}
  with pytest.raises(UsageError, match=message):
    source(write(tmp_path, names))


def test_an_edm_data_set_below_a_top_folder(tmp_path, as_zip):
  listed = {"labels": [["00000/0.png", 1], ["00000/1.png", 0]]}
  names = {
    "ffhq/00000/0.png": None,
    "ffhq/00000/1.png": None,
    "ffhq/dataset.json": json.dumps(listed).encode(),
    "__MACOSX/ffhq/._dataset.json": b"junk",
  }
  found = create_source("edm_zip", path=write(tmp_path, names, as_zip))
  assert found.read(np.arange(2))["label"].tolist() == [1, 0]


def test_non_square_records(tmp_path):
  path = write(tmp_path, ["a/0.png"])
  found = create_source("images", path=path, image_size=(4, 8))
  assert found.image_shape == (4, 8, 3)
  assert found.read(np.arange(1))["image"].shape == (1, 4, 8, 3)
