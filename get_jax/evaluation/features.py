"""Extracts features of images and summarizes them batch by batch."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Float32, Int, UInt8

from get_jax.errors import UsageError
from get_jax.evaluation.extractors.classifier import ExtractorOutput
from get_jax.evaluation.extractors.registry import FeatureExtractor
from get_jax.evaluation.statistics import GaussianStatistics, RunningStatistics


@dataclasses.dataclass(frozen=True)
class FeatureSummary:
  """What the scores need of a set of images: features of one extractor.

  Attributes:
    extractor: Name of the extractor.
    statistics: Statistics of the features.
    spatial_statistics: Statistics of the spatial features (sFID), or None.
    features: (N, D) float32, the features themselves (precision, recall, KID),
      or None where they were not kept.
    logits: (N, K) float32, or None.
    labels: (N,) requested classes, or None.
  """

  extractor: str
  statistics: GaussianStatistics
  spatial_statistics: GaussianStatistics | None = None
  features: Float32[np.ndarray, "N D"] | None = None
  logits: Float32[np.ndarray, "N K"] | None = None
  labels: Int[np.ndarray, " N"] | None = None


def extract_features(
  extractor: FeatureExtractor,
  images: Iterable[UInt8[np.ndarray, "B H W C"]],
  devices: Sequence[jax.Device] = (),
) -> Iterator[ExtractorOutput]:
  """Runs an extractor on batches of images.

  The next batch is dispatched before the previous one is yielded, so that
  reading images and extracting features overlap.

  Args:
    extractor: The extractor.
    images: Batches of uint8 (B, H, W, C). All but the last should have the
      same size; shorter ones are padded, so that they need no compilation.
    devices: Devices of this process over which each batch is sharded.

  Yields:
    `ExtractorOutput` of numpy arrays, one per batch.
  """
  sharding, size, pending = None, 0, None
  if len(devices) > 1:
    mesh = jax.sharding.Mesh(np.array(devices), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
  for batch in images:
    count = len(batch)
    if count == 0:
      continue
    num_shards = max(len(devices), 1)
    size = max(size, -(-count // num_shards) * num_shards)
    if count < size:
      padding = np.repeat(batch[-1:], size - count, axis=0)
      batch = np.concatenate([np.asarray(batch), padding])
    if sharding is not None:
      output = extractor(jax.device_put(batch, sharding))
    else:
      output = extractor(batch)
    if pending:
      yield _to_host(*pending)
    pending = output, count
  if pending:
    yield _to_host(*pending)


def _to_host(output: ExtractorOutput, count: int) -> ExtractorOutput:
  return ExtractorOutput(
    *(None if x is None else np.asarray(x)[:count] for x in output)
  )


def summarize_features(
  extractor: FeatureExtractor,
  outputs: Iterable[ExtractorOutput],
  labels=None,
  keep_features: bool = False,
  keep_logits: bool = True,
) -> FeatureSummary:
  """Accumulates statistics, and what else the scores need.

  Args:
    extractor: The extractor that computed the outputs.
    outputs: What `extract_features` yields.
    labels: (N,) requested classes, for the class accuracy; or None.
    keep_features: Keep all features (4 N D bytes), for precision, recall and
      KID.
    keep_logits: Keep all logits (4 N K bytes); references need none.

  Raises:
    UsageError: Fewer than two images, features that are not finite, or another
      number of labels than of images.
  """
  running, running_spatial = RunningStatistics(extractor.dim), None
  features, logits = [], []
  for output in outputs:
    running.update(output.features)
    if keep_features:
      features.append(np.asarray(output.features, np.float32))
    if keep_logits and output.logits is not None:
      logits.append(np.asarray(output.logits, np.float32))
    if output.spatial is not None:
      if running_spatial is None:
        running_spatial = RunningStatistics(output.spatial[0].size)
      running_spatial.update(output.spatial)
  if labels is not None and len(labels) != running.count:
    raise UsageError(
      f"found {len(labels)} labels for {running.count} images, expected one "
      "per image"
    )
  return FeatureSummary(
    extractor.name,
    running.compute(),
    running_spatial.compute() if running_spatial is not None else None,
    np.concatenate(features) if features else None,
    np.concatenate(logits) if logits else None,
    None if labels is None else np.asarray(labels),
  )


def summarize_images(
  extractor: FeatureExtractor,
  images: Iterable[UInt8[np.ndarray, "B H W C"]],
  labels=None,
  keep_features: bool = False,
  keep_logits: bool = True,
  devices: Sequence[jax.Device] = (),
) -> FeatureSummary:
  """Applies `extract_features`, then `summarize_features`."""
  outputs = extract_features(extractor, images, devices)
  return summarize_features(
    extractor, outputs, labels, keep_features, keep_logits
  )


def batches(
  images: UInt8[np.ndarray, "N H W C"], size: int
) -> Iterator[UInt8[np.ndarray, "B H W C"]]:
  """Splits images (N, H, W, C) into batches of at most `size`."""
  for start in range(0, len(images), size):
    yield images[start : start + size]
