"""Tolerances of the reference cases, by kind.

Errors are relative L2 errors over an array, unless the name says otherwise.
"""

import dataclasses
import re

from cases import Case


@dataclasses.dataclass(frozen=True)
class Stated:
  """The tolerance is that of the case.

  Attributes:
    otherwise: the tolerance of a case that states none.
    share: fraction of the stated tolerance, where this code is more precise.
  """

  otherwise: float
  share: float = 1.0


# A number holds for every case of the kind: either the cases state it in words
# only, or it is stricter than what they state.
TOLERANCES: dict[str, dict[str, float | Stated]] = {
  "dit/forward": {"out": Stated(1e-5), "grad": 2e-5},
  "dit/cfg": {"out": Stated(2e-5)},
  "dit/trajectory": {"out": Stated(2e-5)},
  "dit/train": {"loss": 1e-5, "change": 2e-3},
  # Absolute. At large times, a float32 angle has lost digits.
  "dit/embeddings": {"time": 2e-4, "small_time": 1e-6, "position": 1e-7},
  "dit/tables": {"out": Stated(1e-10)},
  "dit/step": {"out": Stated(2e-6)},
  # The decoder term of t = 0 is a difference of clamped probabilities.
  "dit/losses": {
    "mse": 1e-5,
    "loss": 1e-4,
    "grad": 1e-4,
    "first_loss": 1e-3,
    "first_grad": 1e-2,
  },
  "diffit/block": {"out": Stated(2e-5), "grad": Stated(5e-5)},
  "diffit/small_activations": {"out": Stated(1e-3)},
  "diffit/forward": {
    "out": Stated(5e-5),
    "mid": Stated(5e-5),
    "grad": Stated(1e-4),
  },
  # "weight" is elementwise, beside an absolute one of a tenth.
  "diffit/guidance": {"out": Stated(1e-4), "weight": 1e-5},
  # Elementwise; absolute for the position tables.
  "diffit/tables": {"schedule": Stated(1e-6), "pos_embed": Stated(1e-6)},
  "diffit/trajectory": {"out": Stated(1e-4)},
  "diffit/checkpoint": {"out": Stated(1e-5, share=0.2)},
  "uvit/forward": {
    "out": Stated(2e-5),
    "mid": Stated(5e-5),
    "grad": Stated(5e-5),
  },
  "uvit/pieces": {"embedding": Stated(2e-5)},
  "uvit/train": {
    "loss": Stated(1e-5),
    "delta": Stated(5e-4),
    "ema_delta": Stated(1e-3),
  },
  "uvit/guidance": {"out": Stated(1e-5)},
  "uvit/sampling": {"out": Stated(5e-5)},
  "uvit/cka": {"out": Stated(1e-4)},
  "uvit/latent": {"out": Stated(1e-6)},
  # "time" is elementwise.
  "uvit/losses": {"out": Stated(1e-5), "time": 1e-6},
  # Elementwise, beside an absolute one of 1e-9 or less.
  "uvit/sde": {"float64": 1e-9, "float32": Stated(1e-5)},
  "uvit/discrete": {"alpha_bar": 1e-10, "out": 1e-9},
  "uvit/schedule": {"float64": 1e-7, "float32": Stated(1e-5)},
  # "time" is elementwise. The first, tiny steps of the adaptive solver have
  # errors of rounding size, which shift the rest.
  "uvit/solver": {"out": Stated(2e-5), "time": 1e-6, "adaptive": 1e-2},
  "get/forward": {"out": Stated(1e-5, share=0.1)},
  "get/gradients": {"loss": 1e-5, "grad": Stated(5e-5, share=0.1)},
  # "loss" is relative, elementwise.
  "get/train": {"loss": 1e-4, "param": Stated(1e-3)},
  "get/checkpoint": {"out": Stated(1e-5, share=0.1)},
  # Elementwise, relative or absolute, in float64.
  "get/deq": {"out": Stated(1e-9)},
  "get/deq_implicit": {"out": Stated(1e-8), "exact": 1e-9, "exact_grad": 1e-8},
  # Elementwise, relative or absolute within 1e-12, in float64.
  "get/deq_training": {"out": Stated(1e-9)},
  "edm/network": {
    "out": Stated(2e-5),
    "mid": Stated(2e-5),
    "grad": Stated(1e-4),
  },
  # A float32 angle of 1e5 has lost its digits, in the reference as well.
  "edm/layers": {
    "conv": Stated(1e-6),
    "norm": Stated(1e-5),
    "emb": Stated(2e-4),
    "fourier": 2e-3,
    "small_time": 2e-5,
  },
  # "out" is for one image; "time" and "sigma" are elementwise.
  "edm/precond": {"out": 2e-5, "time": 1e-5, "sigma": 1e-6, "inverse": 1e-4},
  "edm/loss": {"loss": Stated(5e-5), "grad": Stated(2e-4), "sigma": 1e-5},
  # Elementwise but for "x". The levels of iDDPM come from a cosine in float32.
  "edm/sampler": {"x": Stated(1e-5), "t_steps": 1e-11},
  "edm/ablation": {"x": Stated(1e-4), "sigma": 1e-6, "iddpm_sigma": 1e-5},
  "edm/network_sampler": {"x": Stated(1e-4), "t_steps": 1e-6},
  # Elementwise but for the states of samplers.
  "flow": {"float64": 1e-9, "float32": 1e-4},
  # Elementwise but for "change".
  "edm/train": {"param": 1e-5, "change": 1e-3, "lr": 1e-6, "norm": 1e-4},
  "edm/augment": {"images": Stated(1e-4), "labels": Stated(1e-5)},
  "edm/pickle": {"out": Stated(1e-5, share=0.5)},
  # Elementwise. Of a singular covariance, the reference is off by 1e-8.
  "edm/fid": {"fid": 1e-7, "moments": 1e-9},
  # Elementwise. Precision and recall are compared within one row.
  "metrics": {
    "fid": 1e-9,
    "mean": 1e-7,
    "covariance": 1e-9,
    "inception_score": 1e-5,
    "kid": 1e-5,
    "radii": 1e-5,
    # Half precision leaves the order of summation visible; absolute.
    "half_precision": 0.01,
  },
  # The scores are elementwise.
  "inception": {
    "out": Stated(2e-5),
    "preprocessed": 5e-6,
    "pool": 2e-5,
    "distance": 1e-6,
    "inception_score": 1e-4,
  },
  "consistency": {"out": 1e-4},
  "progressive_distillation": {"out": 1e-4},
  # Elementwise for guidance scales.
  "meanflow": {"out": 1e-5, "grad": 1e-4},
  "vae": {
    "mid": Stated(1e-5),
    "mean": Stated(1e-5),
    "logvar": Stated(1e-5),
    "decoded": Stated(1e-5),
    "kl": Stated(1e-4),
    # Relative to 1 + std, elementwise.
    "sample": 1e-3,
  },
}


def tolerance(case: Case, kind: str, name: str = "out") -> float:
  """Returns the tolerance of an array of a case.

  Args:
    case: the case.
    kind: key of `TOLERANCES`.
    name: name within the kind.
  """
  entry = TOLERANCES[kind][name]
  if isinstance(entry, float):
    return entry
  number = stated(case, name)
  return entry.otherwise if number is None else entry.share * number


def stated(case: Case, name: str) -> float | None:
  """Returns the tolerance that the case's `meta` states, or None.

  In words, it is the first number: "float32: rel L2 <= 5e-3 (...)".
  """
  keys = ("tolerance", "tol_rel_l2", "tol")
  value = next((case.meta[key] for key in keys if key in case.meta), None)
  if isinstance(value, dict):
    value = value.get("rel_l2_float32", value)
  if isinstance(value, dict):
    value = value.get(name)
  if isinstance(value, str):
    number = re.search(r"\d+(\.\d+)?e-\d+", value)
    value = number and number[0]
  return None if value is None else float(value)
