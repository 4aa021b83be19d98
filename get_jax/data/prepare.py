"""Prepares a data set of TFDS for reading without TensorFlow.

python -m get_jax.data.prepare cifar10 [--data_dir=DIR]

Downloading and preparing needs get_jax[prepare]. A data set that is already
prepared as tfrecord is converted without it.
"""

import argparse
import importlib.util
import sys
from typing import TYPE_CHECKING

from get_jax.data.tfds import find_builder
from get_jax.errors import UsageError

if TYPE_CHECKING:
  import tensorflow_datasets as tfds


def main(arguments: list[str] | None = None) -> int:
  """Prepares a data set as array_record.

  Args:
    arguments: the command line; None takes `sys.argv`.

  Returns:
    The exit code: 0 if the data set is prepared, 2 if it cannot be.
  """
  parser = argparse.ArgumentParser(
    prog="python -m get_jax.data.prepare",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument(
    "dataset", help='such as "cifar10" or "imagenet2012:5.1.0"'
  )
  parser.add_argument(
    "--data_dir", help="target folder; default: ~/tensorflow_datasets"
  )
  flags = parser.parse_args(arguments)
  try:
    builder = prepare(flags.dataset, flags.data_dir)
  except UsageError as error:
    print(error, file=sys.stderr)
    return 2
  sizes = {
    name: split.num_examples for name, split in builder.info.splits.items()
  }
  print(f"{builder.info.full_name} is prepared in {builder.data_path}: {sizes}")
  return 0


def prepare(
  dataset: str, data_dir: str | None = None
) -> "tfds.core.DatasetBuilder":
  """Prepares a data set so that it can be read by index.

  Args:
    dataset: its name in TFDS, such as "cifar10".
    data_dir: target folder; None is TFDS's default.

  Returns:
    The builder of the prepared data set.

  Raises:
    UsageError: the data set does not exist, TensorFlow is needed and missing,
      or the data set is prepared in a format that cannot be converted.
  """
  builder = find_builder(dataset, data_dir)
  if builder.is_prepared():
    formats = {format.value for format in builder.info.available_file_formats()}
    if "array_record" not in formats:
      if "tfrecord" not in formats:
        raise UsageError(
          f"{dataset} is prepared as {', '.join(formats)} in "
          f"{builder.data_path}; expected tfrecord or array_record there, or "
          "another --data_dir"
        )
      from get_jax.data.tfrecord import convert

      convert(builder)
      builder = find_builder(dataset, data_dir)
    return builder
  # Only this step uses TensorFlow, through TFDS.
  if importlib.util.find_spec("tensorflow") is None:
    raise UsageError(
      "preparing needs TensorFlow, once; run: pip install 'get_jax[prepare]'"
    )
  import tensorflow_datasets as tfds

  builder = tfds.builder(dataset, data_dir=data_dir, file_format="array_record")
  # TFDS shows its own progress bars.
  builder.download_and_prepare()
  return builder


if __name__ == "__main__":
  sys.exit(main())
