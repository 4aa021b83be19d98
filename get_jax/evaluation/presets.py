"""Evaluation settings of each paper, for comparison with its tables.

The papers do not agree with one another, nor always with themselves; each
preset follows the code that produced the published numbers.
`docs/evaluation.md` describes what is known of each.
"""

import dataclasses

from get_jax.errors import UsageError
from get_jax.evaluation.scores.registry import Conventions

_DEFAULT = Conventions()
_ADM = Conventions(inception_score="adm", half_precision=True)
_ADM_SCORES = ("fid", "sfid", "inception_score", "precision", "recall")


@dataclasses.dataclass(frozen=True)
class Preset:
  """Evaluation settings of a paper.

  Attributes:
    paper: The paper that publishes the numbers.
    scores: Names out of `SCORES`, in the paper's order.
    preprocessing: Preprocessing of the images for Inception.
    reference: The real images that the published values refer to.
    count: Number of samples N; scores are comparable at equal N only.
    repeats: Sets of N samples that are evaluated; the lowest FID is reported.
    conventions: Options of the scores.
  """

  paper: str
  scores: tuple[str, ...]
  preprocessing: str
  reference: str
  count: int = 50_000
  repeats: int = 1
  conventions: Conventions = _DEFAULT


PRESETS = {
  "dit": Preset(
    paper="Peebles and Xie 2023",
    scores=_ADM_SCORES,
    preprocessing="tf1",
    reference="ADM's reference batch of ImageNet (mu, sigma, mu_s, sigma_s of "
    "the training set, arr_0 of 10,000 images)",
    conventions=_ADM,
  ),
  "uvit": Preset(
    paper="Bao et al. 2023",
    scores=("fid",),
    preprocessing="pytorch_fid",
    reference="statistics of the training set; for ImageNet those of ADM, "
    "which were made with the tf1 resize",
  ),
  "diffit": Preset(
    paper="Hatamizadeh et al. 2024",
    scores=_ADM_SCORES,
    preprocessing="tf1",
    reference="ADM's reference batch of ImageNet; the training set for "
    "CIFAR-10 and FFHQ-64",
    conventions=dataclasses.replace(_ADM, uint8_offset=127.5),
  ),
  "edm": Preset(
    paper="Karras et al. 2022",
    scores=("fid",),
    preprocessing="tf1",
    reference="the training set, not flipped",
    repeats=3,
  ),
  "get": Preset(
    paper="Geng et al. 2023",
    scores=("fid", "inception_score"),
    preprocessing="pytorch_fid",
    reference="the TEST set of CIFAR-10; against the training set FID is "
    "about 2 lower",
    conventions=Conventions(inception_score="get"),
  ),
}


def get_preset(name: str) -> Preset:
  """Returns the preset of a paper.

  Args:
    name: A key of `PRESETS`.

  Raises:
    UsageError: The name is unknown.
  """
  if name not in PRESETS:
    raise UsageError(
      f"unknown evaluation preset {name!r}, expected one of {sorted(PRESETS)}"
    )
  return PRESETS[name]
