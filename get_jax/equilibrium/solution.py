"""The result of a fixed-point solve."""

import dataclasses
import typing

import jax
from jaxtyping import Bool, Float, Int

from get_jax.equilibrium.typing import Array, PyTree


# A pytree may hold leaves of any type, for example those of `jax.eval_shape`.
@typing.no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solution:
  """The fixed points of B samples and the statistics of the solve.

  Attributes:
    value: the state, with the structure and dtypes of z0. Only `value` and
      `taps` carry gradients.
    residual: (B,) ||f(z) - z|| at the evaluation that gave `value`.
    relative_residual: (B,) `residual` divided by ||f(z)||.
    steps: (B,) int32, the number of evaluations of f until the sample
      finished.
    converged: (B,) bool, whether the residual fell below the tolerance;
      False for all samples if the solver has no tolerance.
    trace: (max_steps, B) residual of every evaluation, NaN after a sample has
      finished; None unless requested.
    relative_trace: (max_steps, B) relative residual of every evaluation, NaN
      after a sample has finished; None unless requested.
    taps: states at the requested steps, leaves (taps, B, ...), of which the
      last is `value`; None unless requested.
  """

  value: PyTree
  residual: Float[Array, " B"]
  relative_residual: Float[Array, " B"]
  steps: Int[Array, " B"]
  converged: Bool[Array, " B"]
  trace: Float[Array, "steps B"] | None = None
  relative_trace: Float[Array, "steps B"] | None = None
  taps: PyTree | None = None
