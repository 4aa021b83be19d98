"""Prepares a data set of TFDS for reading without TensorFlow.

python -m get_jax.data.prepare cifar10 [--data_dir=DIR]

Downloading and preparing needs get_jax[prepare]; a data set that is prepared as
tfrecord already is converted without.
"""

import argparse
import importlib.util
import sys

from get_jax.data.tfds import find_builder
from get_jax.errors import UsageError


def main(arguments: list[str] | None = None) -> int:
  """Prepares as array_record; 0 where that is done, 2 where it cannot be."""
  parser = argparse.ArgumentParser(
    prog="python -m get_jax.data.prepare",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("dataset", help='as "cifar10" or "imagenet2012:5.1.0"')
  parser.add_argument("--data_dir", help="where to; else ~/tensorflow_datasets")
  given = parser.parse_args(arguments)
  try:
    builder = prepare(given.dataset, given.data_dir)
  except UsageError as error:
    print(error, file=sys.stderr)
    return 2
  sizes = {
    name: split.num_examples for name, split in builder.info.splits.items()
  }
  print(f"{builder.info.full_name} is prepared in {builder.data_path}: {sizes}")
  return 0


def prepare(dataset: str, data_dir: str | None = None):
  """The builder of a data set that can be read by index from now on.

  Raises:
    UsageError: there is no such data set, TensorFlow is needed and missing, or
      the data set is prepared in a format that cannot be converted.
  """
  builder = find_builder(dataset, data_dir)
  if builder.is_prepared():
    formats = {found.value for found in builder.info.available_file_formats()}
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
  # This step alone runs TFDS's own TensorFlow.
  if importlib.util.find_spec("tensorflow") is None:
    raise UsageError(
      "preparing needs TensorFlow, once; run: pip install 'get_jax[prepare]'"
    )
  import tensorflow_datasets as tfds

  builder = tfds.builder(dataset, data_dir=data_dir, file_format="array_record")
  # Progress bars are TFDS's own.
  builder.download_and_prepare()
  return builder


if __name__ == "__main__":
  sys.exit(main())
