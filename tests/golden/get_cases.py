"""The GET, or the ViT baseline, of a reference case."""

from get_jax.models import create_model

FIELDS = {
  "depth": "injection_depth",
  "deq_depth": "equilibrium_depth",
  "deq_mlp_ratio": "equilibrium_mlp_ratio",
}


def get_model(case, name="GET", **fields):
  """Returns the model of a case.

  Args:
    case: the case.
    name: "GET" or "ViT".
    **fields: other fields of the model.
  """
  ctor = dict(case.meta["ctor"])
  if not ctor.pop("cond"):
    ctor["num_classes"] = 0
  if name == "ViT":
    ctor = {k: v for k, v in ctor.items() if not k.startswith("deq_")}
  else:
    ctor = {FIELDS.get(k, k): v for k, v in ctor.items()}
  return create_model(name, **ctor, **fields)
