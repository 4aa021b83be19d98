"""Reference statistics of real images: computed, cached, or read from a file.

A single `.npz` serves all published evaluators, since each reads its own keys:

    mu, sigma           EDM, pytorch-fid, clean-fid, ADM
    mu_s, sigma_s       ADM (sFID)
    arr_0               ADM (images, for precision and recall)
    rows, about         this library (features of the images; JSON about them)
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from get_jax.data.image_set import open_images
from get_jax.errors import UsageError
from get_jax.evaluation.extractors.registry import FeatureExtractor
from get_jax.evaluation.features import FeatureSummary, summarize_images
from get_jax.evaluation.statistics import GaussianStatistics
from get_jax.storage.json_files import parse_json
from get_jax.storage.npz import npz_headers, read_npz
from get_jax.storage.paths import Path, StrPath, as_path, atomic_writer
from get_jax.storage.random_access import open_file

BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Reference:
  """The real images that samples are compared with.

  Attributes:
    summary: Features of the real images.
    name: Name of the data, for the protocol.
  """

  summary: FeatureSummary
  name: str

  @property
  def digest(self) -> str:
    """SHA-256 of mean and covariance, independent of the file format."""
    digest = hashlib.sha256()
    statistics = self.summary.statistics
    for array in (statistics.mean, statistics.covariance):
      digest.update(np.ascontiguousarray(array, "<f8").tobytes())
    return digest.hexdigest()


def read_reference(
  path: StrPath,
  extractor: FeatureExtractor,
  keep_features: bool = False,
  devices: Sequence[jax.Device] = (),
) -> Reference:
  """Reads statistics or images in any of the formats above.

  Stored statistics take precedence over those of stored images, as in ADM's
  evaluator; images, where there are any, provide the features for precision,
  recall and KID.

  Args:
    path: An `.npz` with `mu` and `sigma`, or with `arr_0`; or a folder or zip
      of images, which are opened with the channels of the extractor.
    extractor: The extractor that samples are evaluated with. Files of other
      programs do not contain which extractor computed them, so the caller must
      make sure that it is the same.
    keep_features: Keep the features of every image.
    devices: As in `extract_features`.

  Raises:
    UsageError: The file does not exist, has wrong keys or another number of
      features, or contains statistics of another extractor.
  """
  location = as_path(path)

  def measure_images() -> FeatureSummary:
    return summarize_images(
      extractor,
      open_images(location, extractor.channels).batches(BATCH_SIZE),
      keep_features=keep_features,
      keep_logits=False,
      devices=devices,
    )

  if location.is_dir() or (
    location.is_file() and location.suffix.lower() == ".zip"
  ):
    return Reference(measure_images(), location.name)
  if not location.is_file():
    raise UsageError(
      f"reference statistics {location} do not exist, expected an .npz with "
      "'mu' and 'sigma'"
    )
  try:
    with open_file(location).open() as opened:
      keys = npz_headers(opened).keys()
      arrays = read_npz(opened, (k for k in keys if not k.startswith("arr_")))
    has_images = "arr_0" in keys
    about = parse_json(str(arrays["about"])) if "about" in arrays else {}
    if not isinstance(about, dict):
      raise ValueError("'about' is not a JSON object")
  except (ValueError, OSError) as error:
    raise UsageError(
      f"{location} cannot be read as an .npz of plain arrays ({error})"
    ) from error
  _check(location, arrays, has_images, about, extractor)
  features, count = arrays.get("rows"), about.get("count")
  if count is not None and type(count) is not int:
    raise UsageError(f"{location} has the count {count!r}; expected an integer")
  if has_images and (keep_features or "mu" not in arrays):
    summary = measure_images()
    if "mu" not in arrays:
      return Reference(summary, location.name)
    features = summary.features
  if keep_features and features is None:
    raise UsageError(
      f"{location} has neither images ('arr_0') nor features ('rows'), which "
      "precision, recall and KID need"
    )

  if features is not None and (
    features.dtype.kind != "f" or features.shape[1:] != (extractor.dim,)
  ):
    raise UsageError(
      f"'rows' of {location} are {features.dtype}{features.shape}; expected "
      f"features (N, {extractor.dim})"
    )

  def statistics(mean: str, covariance: str) -> GaussianStatistics:
    for key in (mean, covariance):
      if arrays[key].dtype.kind not in "fiu":
        raise UsageError(
          f"{key!r} of {location} is of the type {arrays[key].dtype}; expected "
          "numbers"
        )
    try:
      return GaussianStatistics(
        np.asarray(arrays[mean], np.float64),
        np.asarray(arrays[covariance], np.float64),
        count,
      )
    except UsageError as error:
      raise UsageError(f"{location}: {error}") from None

  summary = FeatureSummary(
    extractor.name,
    statistics("mu", "sigma"),
    statistics("mu_s", "sigma_s")
    if "mu_s" in arrays and "sigma_s" in arrays
    else None,
    features if keep_features else None,
  )
  return Reference(summary, str(about.get("name", location.name)))


def write_reference(
  path: StrPath,
  reference: Reference,
  images: UInt8[np.ndarray, "N H W 3"] | None = None,
  about: Mapping | None = None,
) -> None:
  """Writes a file that every evaluator above reads, atomically.

  Args:
    path: The `.npz` file.
    reference: The statistics, and features if they were kept.
    images: uint8 (N, H, W, 3) to add for ADM's evaluator, which needs images.
    about: Additional facts to store in the file.
  """
  summary = reference.summary
  arrays: dict[str, Any] = {
    "mu": summary.statistics.mean,
    "sigma": summary.statistics.covariance,
  }
  if summary.spatial_statistics is not None:
    arrays["mu_s"] = summary.spatial_statistics.mean
    arrays["sigma_s"] = summary.spatial_statistics.covariance
  if summary.features is not None:
    arrays["rows"] = summary.features
  if images is not None:
    arrays["arr_0"] = images
  facts = {
    "name": reference.name,
    "extractor": summary.extractor,
    "count": summary.statistics.count,
    **(about or {}),
  }
  with atomic_writer(path) as file:
    np.savez(file, about=np.array(json.dumps(facts)), **arrays)


def cached_reference(
  folder: StrPath,
  name: str,
  fingerprint: str,
  extractor: FeatureExtractor,
  images: Callable[[], Iterable[UInt8[np.ndarray, "B H W C"]]],
  keep_features: bool = False,
  devices: Sequence[jax.Device] = (),
) -> Reference:
  """Computes statistics once per data set and extractor.

  Args:
    folder: Folder of the cached files.
    name: Name of the data, for the file name and the protocol.
    fingerprint: Identifies the data and how they are cropped and scaled.
    extractor: Computes the features.
    images: Returns an iterator over batches of uint8 (B, H, W, C); called only
      if nothing is cached yet.
    keep_features: Keep the features of every image.
    devices: As in `extract_features`.
  """
  key = {
    "fingerprint": fingerprint,
    "extractor": extractor.name,
    "extractor_sha256": extractor.digest,
    "rows": keep_features,
  }
  code = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
  stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
  path = as_path(folder) / f"{stem}-{code[:16]}.npz"
  if path.is_file():
    return read_reference(path, extractor, keep_features)
  summary = summarize_images(
    extractor,
    images(),
    keep_features=keep_features,
    keep_logits=False,
    devices=devices,
  )
  reference = Reference(summary, name)
  write_reference(path, reference, about=key)
  return reference


def _check(
  path: Path,
  arrays: Mapping[str, np.ndarray],
  has_images: bool,
  about: Mapping[str, Any],
  extractor: FeatureExtractor,
) -> None:
  has_statistics = {"mu", "sigma"} <= arrays.keys()
  if not has_statistics and (not has_images or "mu" in arrays):
    raise UsageError(
      f"{path} has the keys {sorted(arrays)}, expected 'mu' and 'sigma' (and "
      "optionally 'mu_s', 'sigma_s'), or images 'arr_0'"
    )
  if "about" in arrays:
    computed_by = about.get("extractor")
    if computed_by != extractor.name:
      raise UsageError(
        f"the statistics in {path} were computed by extractor "
        f"{computed_by!r}, expected {extractor.name!r}"
      )
  if "mu" in arrays and arrays["mu"].shape != (extractor.dim,):
    raise UsageError(
      f"'mu' of {path} has shape {arrays['mu'].shape}, expected "
      f"({extractor.dim},), the features of extractor {extractor.name!r}"
    )
