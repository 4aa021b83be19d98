"""Verifies every shard of a directory of pairs, latents or texts.

python -m get_jax.data.check DIR
"""

import argparse
import sys

from get_jax.errors import UsageError
from get_jax.storage.shard_reader import find_faults
from get_jax.storage.shards import Layout


def main(arguments: list[str] | None = None) -> int:
  """Prints every fault of a directory of shards.

  Args:
    arguments: the command line; None takes `sys.argv`.

  Returns:
    The exit code: 0 without faults, 1 with faults, 2 without a manifest.
  """
  description = (__doc__ or "").split("\n")[0]
  parser = argparse.ArgumentParser(description=description)
  parser.add_argument("directory", help="a folder with a manifest.json")
  directory = parser.parse_args(arguments).directory
  try:
    layout = Layout.read(directory)
  except UsageError as error:
    print(error, file=sys.stderr)
    return 2
  faults = list(find_faults(directory, layout))
  for fault in faults:
    print(fault)
  if faults:
    print(
      f"{len(faults)} faults; delete the .json file of each shard that is "
      "named, then run the command that made the directory again: it makes the "
      "missing shards"
    )
    return 1
  print(
    f"{directory}: {layout.count} records in {layout.num_shards} shards of "
    f"{layout.format!r}; every checksum matches"
  )
  return 0


if __name__ == "__main__":
  sys.exit(main())
