"""What a solve returns."""

import dataclasses

import jax

from get_jax.equilibrium.typing import Array, PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solution:
  """A fixed point and how it was reached; B samples.

  Attributes:
    value: the state, structure and dtypes of z0. Only `value` and `taps`
      carry gradients.
    residual: (B,) ||f(z) - z|| at the evaluation that gave `value`.
    relative_residual: (B,) the same divided by ||f(z)||.
    steps: (B,) int32, evaluations of f until the sample was finished.
    converged: (B,) bool, whether the residual fell below the tolerance;
      False for all samples where the solver has none.
    trace: (max_steps, B) residual of every evaluation, NaN after a sample was
      finished; None unless asked for.
    relative_trace: the same of the relative residual.
    taps: states at the chosen steps, leaves (taps, B, ...), the last of them
      `value`; None unless asked for.
  """

  value: PyTree
  residual: Array
  relative_residual: Array
  steps: Array
  converged: Array
  trace: Array | None = None
  relative_trace: Array | None = None
  taps: PyTree | None = None
