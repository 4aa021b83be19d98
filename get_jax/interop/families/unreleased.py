"""Networks without official weights: our own names, in torch's layouts."""

from collections.abc import Iterator

import flax.linen as nn
from flax import traverse_util

from get_jax.interop.families.family import Family
from get_jax.interop.names import Rule
from get_jax.models.parameters import abstract_params


def _rules(model: nn.Module) -> Iterator[Rule]:
  for path in traverse_util.flatten_dict(abstract_params(model)):
    ours = "/".join(path[:-1] or path)
    yield Rule(ours.replace("/", "."), ours)


IMAGE_DIFFIT = Family(
  name="image-space DiffiT",
  telltale="",
  rules=_rules,
  fields=lambda shapes, model: {},
)
