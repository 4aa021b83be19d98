"""Features on disk in shards, so that an interrupted evaluation resumes.

A shard contains the features of consecutive sample indices and is written
atomically. The folder of the shards is named by a hash of all settings that
determine the features, so different settings never mix. Hosts that share the
folder write different shards; a reader of all shards has the whole set.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from get_jax.errors import UsageError
from get_jax.evaluation.extractors.classifier import ExtractorOutput
from get_jax.evaluation.extractors.registry import FeatureExtractor
from get_jax.evaluation.features import FeatureSummary, summarize_features
from get_jax.storage.lease import Lease
from get_jax.storage.npz import read_npz
from get_jax.storage.paths import (
  Path,
  StrPath,
  as_path,
  atomic_writer,
  write_text,
)


class FeatureShards:
  """The features of samples 0 .. count - 1.

  Args:
    folder: Parent of the folders of shards.
    identity: Everything that determines the features: model digest, sampler,
      seed, extractor and so on; plain values. The number of samples is not
      part of it: a larger set reuses the shards of a smaller one.
    count: Number of samples N.
    size: Samples in each shard but the last.
  """

  def __init__(
    self,
    folder: StrPath,
    identity: Mapping,
    count: int,
    size: int,
  ):
    self.count, self.size = count, size
    settings = json.dumps({**identity, "size": size}, sort_keys=True)
    code = hashlib.sha256(settings.encode()).hexdigest()[:16]
    self.folder = as_path(folder) / code
    write_text(self.folder / "identity.json", settings)

  def __len__(self) -> int:
    """Returns the number of shards."""
    return len(range(0, self.count, self.size))

  def indices(self, shard: int) -> Int[np.ndarray, " n"]:
    """Returns the sample indices of a shard."""
    start = shard * self.size
    return np.arange(start, min(start + self.size, self.count))

  def lock(self, process_index: int = 0) -> Lease:
    """Returns the lock against evaluations that compute the same; a context.

    Args:
      process_index: index of this process in its run; each has its own lock.
    """
    return Lease(
      self.folder / f"lock{process_index}",
      f"another process computes the features in {self.folder}; expected one "
      "evaluation of the same samples at a time",
    )

  def missing(self) -> list[int]:
    """Returns the numbers of the shards that are not written yet."""
    names = {path.name for path in self.folder.iterdir()}
    return [
      shard for shard in range(len(self)) if self._path(shard).name not in names
    ]

  def write(
    self,
    shard: int,
    outputs: Iterable[ExtractorOutput],
    labels: Int[np.ndarray, " n"] | None = None,
  ) -> None:
    """Writes the features of the samples `indices(shard)`.

    Args:
      shard: Number of the shard.
      outputs: Batches that together are its samples, as `extract_features`
        yields them.
      labels: (n,) requested classes, or None.

    Raises:
      ValueError: There are more or fewer samples than indices.
    """
    columns = zip(*outputs, strict=True)
    arrays: dict[str, Any] = {
      field: np.concatenate(column)
      for field, column in zip(ExtractorOutput._fields, columns, strict=True)
      if column[0] is not None
    }
    if labels is not None:
      arrays["labels"] = np.asarray(labels)
    expected = len(self.indices(shard))
    for key, value in arrays.items():
      if len(value) != expected:
        raise ValueError(
          f"{key} of shard {shard} have {len(value)} samples, expected "
          f"{expected}"
        )
    with atomic_writer(self._path(shard)) as file:
      np.savez(file, **arrays)

  def read(
    self,
  ) -> Iterator[tuple[ExtractorOutput, Int[np.ndarray, " n"] | None]]:
    """Yields the features and labels of all shards, in order.

    Raises:
      UsageError: A shard is missing or damaged.
    """
    for shard in range(len(self)):
      path = self._path(shard)
      try:
        arrays = read_npz(io.BytesIO(path.read_bytes()))
        labels = arrays.pop("labels", None)
        output = ExtractorOutput(**arrays)
        _check_numbers(output, labels, len(self.indices(shard)))
      except (OSError, ValueError, TypeError) as error:
        raise UsageError(
          f"feature shard {path} cannot be read ({error}); delete it and "
          "evaluate again"
        ) from error
      yield output, labels

  def summarize(
    self, extractor: FeatureExtractor, keep_features: bool = False
  ) -> FeatureSummary:
    """Reads all shards and returns their `FeatureSummary`.

    Args:
      extractor: The extractor that computed the features.
      keep_features: As in `summarize_features`.
    """
    labels = []

    def outputs():
      for output, shard_labels in self.read():
        if shard_labels is not None:
          labels.append(shard_labels)
        yield output

    summary = summarize_features(
      extractor, outputs(), keep_features=keep_features
    )
    if not labels:
      return summary
    return dataclasses.replace(summary, labels=np.concatenate(labels))

  def _path(self, shard: int) -> Path:
    indices = self.indices(shard)
    return self.folder / f"{indices[0]:08d}-{indices[-1]:08d}.npz"


def _check_numbers(
  output: ExtractorOutput, labels: np.ndarray | None, count: int
) -> None:
  """Raises a ValueError unless the arrays of a shard are numbers of samples."""
  for name, array in {**output._asdict(), "labels": labels}.items():
    if array is None:
      continue
    kinds, ndims = ("iu", (1,)) if name == "labels" else ("f", (2, 3, 4))
    if array.ndim not in ndims or array.dtype.kind not in kinds:
      raise ValueError(f"{name} is {array.dtype} with {array.ndim} axes")
    if len(array) != count:
      raise ValueError(f"{name} has {len(array)} of {count} samples")
