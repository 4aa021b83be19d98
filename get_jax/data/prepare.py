"""Downloads and prepares a data set of TFDS; needs get_jax[prepare].

python -m get_jax.data.prepare cifar10 [--data_dir=DIR]
"""

import argparse
import importlib.util
import sys


def main(arguments: list[str] | None = None) -> int:
  """Prepares as array_record, which is read without TensorFlow."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("dataset", help='as "cifar10" or "imagenet2012:5.1.0"')
  parser.add_argument("--data_dir", help="where to; else ~/tensorflow_datasets")
  given = parser.parse_args(arguments)
  # This step alone runs TFDS's own TensorFlow.
  if importlib.util.find_spec("tensorflow") is None:
    print(
      "preparing needs TensorFlow, once; run: pip install 'get_jax[prepare]'",
      file=sys.stderr,
    )
    return 2
  import tensorflow_datasets as tfds

  builder = tfds.builder(
    given.dataset, data_dir=given.data_dir, file_format="array_record"
  )
  # Progress bars are TFDS's own.
  builder.download_and_prepare()
  sizes = {
    name: split.num_examples for name, split in builder.info.splits.items()
  }
  print(f"{builder.info.full_name} is prepared in {builder.data_path}: {sizes}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
