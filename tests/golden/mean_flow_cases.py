"""Networks, parameters and samples of the reference cases of MeanFlow."""

import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.linear_path import Interval, LinearPath
from get_jax.diffusion.objectives.improved_mean_flow import ImprovedMeanFlow
from get_jax.diffusion.objectives.mean_flow import MeanFlow
from get_jax.models import create_model

_IMF_FIELDS = {
  "aux_head_depth": "head_depth",
  "num_class_tokens": "class_tokens",
  "num_time_tokens": "time_tokens",
  "num_cfg_tokens": "guidance_tokens",
  "num_interval_tokens": "interval_tokens",
}


def mean_flow_dit(case):
  """Returns the DiT of a case."""
  return create_model("MF", **case.meta["net"])


def imf(case, **fields):
  """Returns the network of improved MeanFlow of a case."""
  net = {_IMF_FIELDS.get(k, k): v for k, v in case.meta["net"].items()}
  return create_model("iMF", **net, **fields)


def apply_of(model):
  """Returns the function that an objective calls."""

  def apply(params, x, t, y, key, **scalars):
    del key
    return model.apply({"params": params}, x, t, y, train=True, **scalars)

  return apply


def mean_flow_objective(case, model):
  """Returns the objective of a case."""
  meta = case.meta
  guided = meta["guidance_eq"] != "none"
  return MeanFlow(
    apply_of(model),
    LinearPath(p_mean=meta["P_mean"], p_std=meta["P_std"]),
    null=model.num_classes,
    label_dropout=meta["class_dropout_prob"],
    weight_power=meta["norm_p"],
    weight_epsilon=meta["norm_eps"],
    omega=meta["omega"] if guided else 1.0,
    kappa=meta["kappa"] if guided else 0.0,
    interval=(meta["t_start"], meta["t_end"]),
  )


def improved_objective(case, model):
  """Returns the objective of a case."""
  meta = case.meta
  return ImprovedMeanFlow(
    apply_of(model),
    LinearPath(),
    null=model.num_classes,
    label_dropout=meta["class_dropout_prob"],
    weight_power=meta["norm_p"],
    weight_epsilon=meta["norm_eps"],
  )


def prepared(case):
  """Returns the prepared samples of a case of a loss."""
  given = case.under("in")
  count = len(given["t"])
  dropped = np.isin(np.arange(count), case.meta["dropped"])
  return {
    "x0": given["images"],
    "noise": given["noise"],
    "levels": Interval(jnp.asarray(given["t"]), jnp.asarray(given["r"])),
    "y": given["y"],
    "dropped": dropped,
  }
