"""Reference statistics: of any images, from a cache, or from papers' files.

One `.npz` serves all published evaluators, since each looks for its own keys:

    mu, sigma           EDM, pytorch-fid, clean-fid, ADM
    mu_s, sigma_s       ADM (sFID)
    arr_0               ADM (images, for precision and recall)
    rows, about         ours (features of the images; what made the file)
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np

from get_jax.data.image_set import open_images
from get_jax.errors import UsageError
from get_jax.evaluation.extractors.registry import FeatureExtractor
from get_jax.evaluation.statistics import GaussianStatistics
from get_jax.evaluation.summary import Summary, summarize_images

BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Reference:
  """What samples are compared with.

  Attributes:
    summary: The real images through the extractor.
    name: Where they came from, for the protocol.
  """

  summary: Summary
  name: str

  @property
  def digest(self) -> str:
    """sha256 of mean and covariance: the same in whatever file they lie."""
    found = hashlib.sha256()
    for array in (self.summary.features.mean, self.summary.features.covariance):
      found.update(np.ascontiguousarray(array, "<f8").tobytes())
    return found.hexdigest()


def read_reference(
  path,
  extractor: FeatureExtractor,
  keep_rows: bool = False,
  devices: Sequence[jax.Device] = (),
) -> Reference:
  """Reads statistics or images of any of the forms above.

  Stored statistics win over those of stored images, as in ADM's evaluator;
  images, where there are any, give the rows of precision, recall and KID.

  Args:
    path: An `.npz` with `mu` and `sigma`, or with `arr_0`.
    extractor: What measures the samples. Files from elsewhere do not say what
      made them: that is the caller's to know.
    keep_rows: Keep the features of every image.
    devices: As in `extract`.

  Raises:
    UsageError: No such file, wrong keys, another number of features, or
      statistics that say they are another extractor's.
  """
  path = pathlib.Path(path).expanduser()
  if not path.is_file():
    raise UsageError(
      f"no reference statistics at {path}, expected an .npz with 'mu' and "
      "'sigma'"
    )
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {k: file[k] for k in file.files if not k.startswith("arr_")}
      has_images = "arr_0" in file.files
  except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
    raise UsageError(
      f"{path} cannot be read as an .npz of plain arrays ({error})"
    ) from error
  _check(path, arrays, has_images, extractor)
  about = json.loads(str(arrays["about"])) if "about" in arrays else {}
  images = None
  if has_images and (keep_rows or "mu" not in arrays):
    images = summarize_images(
      extractor,
      open_images(path).batches(BATCH_SIZE),
      keep_rows=keep_rows,
      keep_logits=False,
      devices=devices,
    )
  if "mu" not in arrays:
    return Reference(images, path.name)
  rows = images.rows if images else arrays.get("rows")
  if keep_rows and rows is None:
    raise UsageError(
      f"{path} holds neither images ('arr_0') nor features ('rows'), which "
      "precision, recall and KID need"
    )
  count = about.get("count")
  summary = Summary(
    extractor.name,
    GaussianStatistics(
      *(np.asarray(arrays[k], np.float64) for k in ("mu", "sigma")), count
    ),
    GaussianStatistics(
      *(np.asarray(arrays[k], np.float64) for k in ("mu_s", "sigma_s")), count
    )
    if "mu_s" in arrays and "sigma_s" in arrays
    else None,
    rows if keep_rows else None,
  )
  return Reference(summary, about.get("name", path.name))


def write_reference(
  path,
  reference: Reference,
  images: np.ndarray | None = None,
  about: Mapping | None = None,
) -> None:
  """Writes a file that every evaluator above reads.

  Args:
    path: The `.npz` file; it appears whole or not at all.
    reference: What to write.
    images: uint8 (N, H, W, 3) to add for ADM's evaluator, which wants some.
    about: What else the file should say of itself.
  """
  summary = reference.summary
  arrays = {"mu": summary.features.mean, "sigma": summary.features.covariance}
  if summary.spatial is not None:
    arrays["mu_s"] = summary.spatial.mean
    arrays["sigma_s"] = summary.spatial.covariance
  if summary.rows is not None:
    arrays["rows"] = summary.rows
  if images is not None:
    arrays["arr_0"] = images
  facts = {
    "name": reference.name,
    "extractor": summary.extractor,
    "count": summary.features.count,
    **(about or {}),
  }
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.with_name(f".{path.name}.{os.getpid()}.npz")
  np.savez(unfinished, about=np.array(json.dumps(facts)), **arrays)
  os.replace(unfinished, path)


def cached_reference(
  folder,
  name: str,
  fingerprint: str,
  extractor: FeatureExtractor,
  images: Callable[[], Iterable],
  keep_rows: bool = False,
  devices: Sequence[jax.Device] = (),
) -> Reference:
  """Computes statistics once for each data set and extractor.

  Args:
    folder: Where the files are kept.
    name: Name of the data, for people.
    fingerprint: Tells this data, and how it is cropped and scaled, from any
      other.
    extractor: What measures it.
    images: Starts batches of uint8 (B, H, W, C); called only where nothing is
      kept yet.
    keep_rows: Keep the features of every image.
    devices: As in `extract`.
  """
  key = {
    "fingerprint": fingerprint,
    "extractor": extractor.name,
    "extractor_sha256": extractor.digest,
    "rows": keep_rows,
  }
  code = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
  stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
  path = pathlib.Path(folder).expanduser() / f"{stem}-{code[:16]}.npz"
  if path.is_file():
    return read_reference(path, extractor, keep_rows)
  summary = summarize_images(
    extractor,
    images(),
    keep_rows=keep_rows,
    keep_logits=False,
    devices=devices,
  )
  reference = Reference(summary, name)
  write_reference(path, reference, about=key)
  return reference


def _check(path, arrays, has_images, extractor):
  if not has_images and not {"mu", "sigma"} <= arrays.keys():
    raise UsageError(
      f"{path} holds the keys {sorted(arrays)}, expected 'mu' and 'sigma' (and "
      "perhaps 'mu_s', 'sigma_s'), or images 'arr_0'"
    )
  if "about" in arrays:
    made_by = json.loads(str(arrays["about"])).get("extractor")
    if made_by != extractor.name:
      raise UsageError(
        f"the statistics in {path} were made by extractor {made_by!r}, "
        f"expected {extractor.name!r}"
      )
  if "mu" in arrays and arrays["mu"].shape != (extractor.dim,):
    raise UsageError(
      f"'mu' of {path} has shape {arrays['mu'].shape}, expected "
      f"({extractor.dim},), the features of extractor {extractor.name!r}"
    )
