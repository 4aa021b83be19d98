"""Checks that a network has what an objective or a sampler needs."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from get_jax.errors import UsageError
from get_jax.nn.attention import PLATFORMS


def check_network(
  name: str, model: nn.Module, fields: Mapping[str, Any], owner: str
) -> None:
  """Checks the fields of a network.

  Args:
    name: name of the network, for the message.
    model: the network.
    fields: the needed values by field.
    owner: what needs them, for the message: "task='mean_flow'".

  Raises:
    UsageError: a field is missing or has another value.
  """
  for field, needed in fields.items():
    if not hasattr(model, field):
      raise UsageError(
        f"{owner} needs a network with {field}={needed!r}; {name} has no "
        f"{field}"
      )
    found = getattr(model, field)
    if found != needed:
      raise UsageError(
        f"model.{field} is {found!r} for {name}; expected {needed!r}, which "
        f"{owner} needs"
      )


def with_forward_mode(model: nn.Module, owner: str) -> nn.Module:
  """Returns a network that has forward-mode derivatives.

  Fused attention kernels have none, so that "auto" selects XLA.

  Args:
    model: the network.
    owner: what needs the derivatives, for the message.

  Raises:
    UsageError: the network names a fused attention kernel.
  """
  attention = getattr(model, "attention", "xla")
  if attention in PLATFORMS:
    raise UsageError(
      f"model.attention is {attention!r}, which has no forward-mode "
      f"derivative; expected 'auto' or 'xla', as {owner} needs one"
    )
  return model.clone(attention="xla") if attention == "auto" else model
