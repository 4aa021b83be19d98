"""How each paper measured: what to set to compare with its table.

The papers do not agree with one another, nor always with themselves; each
preset follows the code behind the published numbers. `docs/evaluation.md` says
what is known of each.
"""

import dataclasses

from get_jax.errors import UsageError
from get_jax.evaluation.scores.registry import Conventions


@dataclasses.dataclass(frozen=True)
class Preset:
  """A paper's way of measuring.

  Attributes:
    paper: Where its numbers are.
    scores: Names of `SCORES`, in the paper's order.
    preprocessing: How Inception sees the images.
    count: Number of samples N; scores compare at equal N only.
    repeats: Sets of N samples that are measured; the least FID is reported.
    reference: The real images that published values are against.
    conventions: Choices inside the scores.
  """

  paper: str
  scores: tuple[str, ...]
  preprocessing: str
  count: int
  repeats: int
  reference: str
  conventions: Conventions


_ADM_SCORES = ("fid", "sfid", "inception_score", "precision", "recall")
_ADM = Conventions(inception_score="adm", half_precision=True)

PRESETS = {
  "dit": Preset(
    paper="Peebles and Xie 2023",
    scores=_ADM_SCORES,
    preprocessing="tf1",
    count=50_000,
    repeats=1,
    reference="ADM's reference batch of ImageNet (mu, sigma, mu_s, sigma_s of "
    "the training set, arr_0 of 10,000 images)",
    conventions=_ADM,
  ),
  "uvit": Preset(
    paper="Bao et al. 2023",
    scores=("fid",),
    preprocessing="pytorch_fid",
    count=50_000,
    repeats=1,
    reference="statistics of the training set; for ImageNet those of ADM, "
    "which were made with the tf1 resize",
    conventions=Conventions(),
  ),
  "diffit": Preset(
    paper="Hatamizadeh et al. 2024",
    scores=_ADM_SCORES,
    preprocessing="tf1",
    count=50_000,
    repeats=1,
    reference="ADM's reference batch of ImageNet; the training set for "
    "CIFAR-10 and FFHQ-64",
    conventions=dataclasses.replace(_ADM, uint8_offset=127.5),
  ),
  "edm": Preset(
    paper="Karras et al. 2022",
    scores=("fid",),
    preprocessing="tf1",
    count=50_000,
    repeats=3,
    reference="the training set, not flipped",
    conventions=Conventions(),
  ),
  "get": Preset(
    paper="Geng et al. 2023",
    scores=("fid", "inception_score"),
    preprocessing="pytorch_fid",
    count=50_000,
    repeats=1,
    reference="the TEST set of CIFAR-10; against the training set FID is "
    "about 2 lower",
    conventions=Conventions(inception_score="get"),
  ),
}


def get_preset(name: str) -> Preset:
  """The preset of a paper.

  Args:
    name: A key of `PRESETS`.

  Raises:
    UsageError: An unknown name.
  """
  if name not in PRESETS:
    raise UsageError(
      f"unknown evaluation preset {name!r}, expected one of {sorted(PRESETS)}"
    )
  return PRESETS[name]
