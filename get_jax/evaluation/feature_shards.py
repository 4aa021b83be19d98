"""Features on disk, shard by shard, so that measuring survives a crash.

A shard holds the features of a run of sample indices. Shards appear whole or
not at all, and lie in a folder named by a hash of all that decides them, so a
changed setting starts afresh instead of mixing. Hosts that share the folder
write different shards; whoever reads them all has the whole set.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from get_jax.errors import UsageError
from get_jax.evaluation.extractors.classifier import Extracted
from get_jax.evaluation.extractors.registry import FeatureExtractor
from get_jax.evaluation.summary import Summary, summarize


class FeatureShards:
  """The features of samples 0 .. count - 1.

  Args:
    folder: Where folders of shards are kept.
    identity: Everything that decides the features: model digest, sampler,
      seed, extractor and so on; plain values. The number of samples is not
      among them: a larger set takes over the shards of a smaller one.
    count: Number of samples N.
    size: Samples in each shard but the last.
  """

  def __init__(self, folder, identity: Mapping, count: int, size: int):
    self.count, self.size = count, size
    facts = json.dumps({**identity, "size": size}, sort_keys=True)
    code = hashlib.sha256(facts.encode()).hexdigest()[:16]
    self.folder = pathlib.Path(folder) / code
    self.folder.mkdir(parents=True, exist_ok=True)
    (self.folder / "identity.json").write_text(facts, "utf-8")

  def __len__(self) -> int:
    """Number of shards."""
    return len(range(0, self.count, self.size))

  def indices(self, shard: int) -> np.ndarray:
    """Sample indices of a shard."""
    start = shard * self.size
    return np.arange(start, min(start + self.size, self.count))

  def missing(self) -> list[int]:
    """Shards that are still to be made."""
    return [
      shard for shard in range(len(self)) if not self._path(shard).is_file()
    ]

  def write(
    self, shard: int, extracted: Iterable[Extracted], labels=None
  ) -> None:
    """Keeps the features of `indices(shard)`.

    Args:
      shard: Its number.
      extracted: Batches that together are its samples, as `extract` yields.
      labels: (n,) classes asked for, or None.
    """
    parts = zip(*extracted, strict=True)
    arrays = {
      field: np.concatenate(part)
      for field, part in zip(Extracted._fields, parts, strict=True)
      if part[0] is not None
    }
    if labels is not None:
      arrays["labels"] = np.asarray(labels)
    wanted = len(self.indices(shard))
    for key, value in arrays.items():
      if len(value) != wanted:
        raise ValueError(
          f"{key} of shard {shard} are those of {len(value)} samples, expected "
          f"{wanted}"
        )
    path = self._path(shard)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.npz")
    np.savez(unfinished, **arrays)
    os.replace(unfinished, path)

  def read(self) -> Iterator[tuple[Extracted, np.ndarray | None]]:
    """Yields every shard's features and labels, in order.

    Raises:
      UsageError: A shard is missing or damaged.
    """
    for shard in range(len(self)):
      path = self._path(shard)
      try:
        with np.load(path, allow_pickle=False) as file:
          arrays = {key: file[key] for key in file.files}
      except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(
          f"the feature shard {path} cannot be read ({error}); delete it and "
          "evaluate again"
        ) from error
      labels = arrays.pop("labels", None)
      yield Extracted(**arrays), labels

  def summarize(
    self, extractor: FeatureExtractor, keep_rows: bool = False
  ) -> Summary:
    """The `Summary` of all samples."""
    labels = []

    def extracted():
      for batch, classes in self.read():
        if classes is not None:
          labels.append(classes)
        yield batch

    summary = summarize(extractor, extracted(), keep_rows=keep_rows)
    if not labels:
      return summary
    return dataclasses.replace(summary, labels=np.concatenate(labels))

  def _path(self, shard) -> pathlib.Path:
    indices = self.indices(shard)
    return self.folder / f"{indices[0]:08d}-{indices[-1]:08d}.npz"
