"""What the scores know of a set of images, gathered batch by batch."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from get_jax.errors import UsageError
from get_jax.evaluation.extractors.classifier import Extracted
from get_jax.evaluation.extractors.registry import FeatureExtractor
from get_jax.evaluation.statistics import GaussianStatistics, RunningStatistics


@dataclasses.dataclass(frozen=True)
class Summary:
  """A set of images through one extractor.

  Attributes:
    extractor: Name of the extractor.
    features: Statistics of the features.
    spatial: Statistics of the spatial features (sFID), or None.
    rows: (N, D) float32, the features themselves (precision, recall, KID), or
      None where they were not kept.
    logits: (N, K) float32, or None.
    labels: (N,) the classes asked for, or None.
  """

  extractor: str
  features: GaussianStatistics
  spatial: GaussianStatistics | None = None
  rows: np.ndarray | None = None
  logits: np.ndarray | None = None
  labels: np.ndarray | None = None


def extract(
  extractor: FeatureExtractor,
  images: Iterable,
  devices: Sequence[jax.Device] = (),
) -> Iterator[Extracted]:
  """Runs an extractor over batches.

  The next batch is under way while one is handed out, so that reading images
  and measuring them overlap.

  Args:
    extractor: The extractor.
    images: Batches of uint8 (B, H, W, C). All but the last should have the
      same size; shorter ones are padded, so that they need no compiling.
    devices: Devices of this process among which to divide each batch.

  Yields:
    `Extracted` of numpy arrays, one per batch.
  """
  sharding, size, waiting = None, 0, None
  if len(devices) > 1:
    mesh = jax.sharding.Mesh(np.array(devices), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
  for batch in images:
    count = len(batch)
    if count == 0:
      continue
    share = max(len(devices), 1)
    size = max(size, -(-count // share) * share)
    if count < size:
      padding = np.repeat(batch[-1:], size - count, axis=0)
      batch = np.concatenate([np.asarray(batch), padding])
    if sharding is not None:
      batch = jax.device_put(batch, sharding)
    started = extractor(batch), count
    if waiting:
      yield _fetch(*waiting)
    waiting = started
  if waiting:
    yield _fetch(*waiting)


def _fetch(extracted, count) -> Extracted:
  return Extracted(
    *(None if x is None else np.asarray(x)[:count] for x in extracted)
  )


def summarize(
  extractor: FeatureExtractor,
  extracted: Iterable[Extracted],
  labels=None,
  keep_rows: bool = False,
  keep_logits: bool = True,
) -> Summary:
  """Gathers statistics, and what else the scores need.

  Args:
    extractor: The extractor that made them.
    extracted: What `extract` yields.
    labels: (N,) the classes asked for, for the class accuracy; or None.
    keep_rows: Keep all features (4 N D bytes), for precision, recall and KID.
    keep_logits: Keep all logits (4 N K bytes); references need none.

  Raises:
    UsageError: Fewer than two images, or features that are not finite.
  """
  features, spatial = RunningStatistics(extractor.dim), None
  rows, logits = [], []
  for batch in extracted:
    features.update(batch.features)
    if keep_rows:
      rows.append(np.asarray(batch.features, np.float32))
    if keep_logits and batch.logits is not None:
      logits.append(np.asarray(batch.logits, np.float32))
    if batch.spatial is not None:
      spatial = spatial or RunningStatistics(batch.spatial[0].size)
      spatial.update(batch.spatial)
  if labels is not None and len(labels) != features.count:
    raise UsageError(
      f"found {len(labels)} labels for {features.count} images, expected one "
      "each"
    )
  return Summary(
    extractor.name,
    features.finish(),
    spatial.finish() if spatial else None,
    np.concatenate(rows) if rows else None,
    np.concatenate(logits) if logits else None,
    None if labels is None else np.asarray(labels),
  )


def summarize_images(
  extractor: FeatureExtractor,
  images: Iterable,
  labels=None,
  keep_rows: bool = False,
  keep_logits: bool = True,
  devices: Sequence[jax.Device] = (),
) -> Summary:
  """`summarize` of `extract`: from batches of uint8 images to a `Summary`."""
  extracted = extract(extractor, images, devices)
  return summarize(extractor, extracted, labels, keep_rows, keep_logits)


def batches(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
  """Cuts images (N, H, W, C) into batches of at most `size`."""
  for start in range(0, len(images), size):
    yield images[start : start + size]
