"""Input pipeline: records per second in batches of 128; see `data`."""

import functools
import pathlib
import tempfile

import data
import images
from timing import Cases, Row, Scale, number_of_cores

from get_jax.data import Source, create_source


def _jpeg(folder: pathlib.Path) -> Source:
  images.write_large(folder)
  return create_source("images", path=folder, image_size=256)


KINDS = {
  "latents, 32x32x8 float16": data.write_latents,
  "pairs, 32x32x3 uint8": data.write_pairs,
  "digits in memory": lambda _: create_source("digits"),
  "JPEG, 256 pixels": _jpeg,
}
LOADERS = ((1, 0), (4, 0))  # threads, workers


def cases(scale: Scale) -> Cases:
  """Returns one case per kind of records."""
  kinds = list(KINDS)[2:3] if scale.name == "tiny" else list(KINDS)
  return {kind: functools.partial(rows, kind, scale) for kind in kinds}


def rows(kind: str, scale: Scale) -> list[Row]:
  """Returns one row with the best of three measurements per loader."""
  seconds = scale.select(paper=2.0, small=1.0, tiny=0.01)
  row: Row = {"records": kind, "cores": number_of_cores()}
  with tempfile.TemporaryDirectory() as directory:
    source = KINDS[kind](pathlib.Path(directory, "data"))
    for threads, workers in LOADERS:
      results = [
        data.measure_throughput(source, threads, workers, seconds)
        for _ in range(min(scale.repeats, 3))
      ]
      row[f"records/s, {threads} threads"] = max(r.wall for r in results)
      if threads == 1:
        row["records per CPU second"] = max(r.cpu for r in results)
  return [row]
