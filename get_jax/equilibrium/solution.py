"""The result of a fixed-point solve."""

import dataclasses

import jax

from get_jax.equilibrium.typing import Array, PyTree


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
  residual: Array
  relative_residual: Array
  steps: Array
  converged: Array
  trace: Array | None = None
  relative_trace: Array | None = None
  taps: PyTree | None = None
