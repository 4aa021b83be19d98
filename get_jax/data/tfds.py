"""TensorFlow Datasets by name, read without TensorFlow."""

import numpy as np

from get_jax.data.draws import coin
from get_jax.data.pixels import center_crop, to_float
from get_jax.errors import UsageError


def find_builder(dataset: str, data_dir: str | None = None):
  """TFDS's builder of a data set, prepared or not.

  Raises:
    UsageError: there is no such data set.
  """
  import tensorflow_datasets as tfds

  try:
    builder = tfds.builder(dataset, data_dir=data_dir)
  except tfds.core.DatasetNotFoundError as error:
    raise UsageError(
      f"tfds has no data set {dataset!r}; expected one of its catalogue"
    ) from error
  if builder.is_prepared():
    # Only so are files in a second format seen.
    return tfds.builder_from_directory(builder.data_path)
  return builder


class TfdsSource:
  """A prepared data set of `tfds`, by random access.

  Args:
    dataset: its name, as "cifar10" or "imagenet2012:5.1.0".
    image_size: side of the records; other images are cropped as by ADM.
    split: as "train" or "train[:1000]".
    data_dir: where it was prepared; None is the usual place.
    flip: mirrors half of the images, drawn anew each time.
    labels: whether to use the labels.

  Raises:
    UsageError: it is not prepared, or in a format without random access; the
      message has the command that mends it.
  """

  def __init__(
    self,
    dataset: str,
    image_size: int,
    split: str = "train",
    data_dir: str | None = None,
    flip: bool = False,
    labels: bool = True,
  ):
    builder = find_builder(dataset, data_dir)
    try:
      self.data = builder.as_data_source(split)
    except (AssertionError, NotImplementedError) as error:
      place = f" --data_dir={data_dir}" if data_dir else ""
      raise UsageError(
        f"tfds {dataset!r} is {_state(builder)} in {builder.data_path}; run: "
        f"python -m get_jax.data.prepare {dataset}{place}"
      ) from error
    except ValueError as error:
      raise UsageError(f"tfds {dataset!r}, split {split!r}: {error}") from error
    features = builder.info.features
    channels = (features["image"].shape or (None, None, 3))[-1] or 3
    self.flip = flip
    self.image_shape = (image_size, image_size, channels)
    self.has_labels = labels and "label" in features
    self.num_classes = (
      features["label"].num_classes if self.has_labels else None
    )
    self.fingerprint = f"{builder.info.full_name}/{split}/{image_size}"

  def __len__(self) -> int:
    return len(self.data)

  def read(
    self, indices: np.ndarray, draws: np.ndarray | None = None
  ) -> dict[str, np.ndarray]:
    """Records at `indices` (n,), flipped by `draws` (n,) if at all."""
    found = [self.data[i] for i in indices.tolist()]
    size = self.image_shape[0]
    pixels = np.stack([center_crop(r["image"], size) for r in found])
    if self.flip and draws is not None:
      mirrored = coin(draws)
      pixels[mirrored] = pixels[mirrored, :, ::-1]
    records = {"image": to_float(pixels)}
    if self.has_labels:
      records["label"] = np.int32([r["label"] for r in found])
    return records


def _state(builder) -> str:
  if not builder.is_prepared():
    return "not prepared"
  kind = builder.info.file_format.value
  return f"prepared as {kind}, without access by index,"
