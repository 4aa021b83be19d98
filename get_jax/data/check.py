"""Verifies a directory of pairs or latents, file by file.

python -m get_jax.data.check DIR
"""

import argparse
import sys

from get_jax.errors import UsageError
from get_jax.storage.shards import Layout, faults


def main(arguments: list[str] | None = None) -> int:
  """Prints what is wrong; 0 where nothing is, 1 else, 2 without a manifest."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("directory", help="with a manifest.json")
  directory = parser.parse_args(arguments).directory
  try:
    layout = Layout.read(directory)
  except UsageError as error:
    print(error, file=sys.stderr)
    return 2
  found = list(faults(directory, layout))
  for fault in found:
    print(fault)
  if found:
    print(
      f"{len(found)} faults; remove the .json of a shard that is named and run "
      "the command that made the directory again: it makes what is missing"
    )
    return 1
  print(
    f"{directory}: {layout.count} records in {layout.num_shards} shards of "
    f"{layout.format!r}, every checksum agrees"
  )
  return 0


if __name__ == "__main__":
  sys.exit(main())
