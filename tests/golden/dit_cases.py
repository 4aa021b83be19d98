"""The DiT of a reference case."""

from get_jax.interop.official import load_official
from get_jax.models import create_model


def dit(case):
  """Returns the model and the parameters of a case."""
  fields = dict(case.meta["cfg"])
  fields["null_class"] = fields.pop("class_dropout_prob") > 0
  model = create_model("DiT", **fields)
  tensors = case.under("param")
  return model, load_official(model, tensors) if tensors else None
