"""Coefficients of DPM-Solver and DPM-Solver++ steps, in float64.

Both methods solve the ODE exactly except for a Taylor approximation of the
prediction in lambda: of the noise (DPM-Solver) or of the data (DPM-Solver++).
With z = h or, for data, z = -h, where h is the step size in lambda, every step
is

  x_to = (a_to / a_from) x - b_to (phi_1(z) m + phi_2(z) D_1 + phi_3(z) D_2)

where (a, b) is (alpha, sigma) or, for data, (sigma, alpha), m is the prediction
at the start of the step, and D_1 and D_2 are estimates of h m' and h^2 m'' from
further predictions. Weights of predictions are listed newest first.

Source: Lu et al., "DPM-Solver" and "DPM-Solver++".
"""

from typing import NamedTuple

import numpy as np

from get_jax.diffusion.schedules import NoiseSchedule


class Row(NamedTuple):
  """One row of a `Scheme`.

  Attributes:
    time: time of the evaluation.
    starts_step: whether the row is the first of a step.
    base_weight: weight of the state at the start of the step.
    weights: (3,) weights of the last three predictions, the newest first.
  """

  time: float
  starts_step: bool
  base_weight: float
  weights: np.ndarray


class ExponentialIntegrator(NamedTuple):
  """Computes the coefficients of exponential integrator steps.

  Attributes:
    schedule: schedule of the process.
    data: whether the prediction is the data (DPM-Solver++).
    taylor: whether a second order step uses D_1 of Taylor's formula and, with
      three predictions, D_2 as well. Otherwise steps are those of the official
      code, whose third order multistep uses half of D_2 and therefore has
      second order.
  """

  schedule: NoiseSchedule
  data: bool
  taylor: bool

  def singlestep(self, times: list[float]) -> list[Row]:
    """Returns the rows of a singlestep update of order len(times) - 1.

    Args:
      times: start of the step, inner times, end of the step.
    """
    start, *inner, end = times
    lam = [float(self.schedule.lam(t)) for t in times]
    h = lam[-1] - lam[0]
    r = [(x - lam[0]) / h for x in lam[1:-1]]
    one = np.eye(3)
    rows = []
    if not inner:
      rows.append(self._row(start, True, start, end, [one[0]]))
    elif len(inner) == 1:
      rows.append(self._row(start, True, start, inner[0], [one[0]]))
      slope = (one[0] - one[1]) / r[0]
      rows.append(self._second(inner[0], False, start, end, one[1], slope))
    else:
      rows.append(self._row(start, True, start, inner[0], [one[0]]))
      slope = (one[0] - one[1]) * (r[1] / r[0])
      rows.append(self._row(inner[0], False, start, inner[1], [one[1], slope]))
      near, far = (one[1] - one[2]) / r[0], (one[0] - one[2]) / r[1]
      derivatives = [far]
      if self.taylor:
        derivatives = [
          (r[1] * near - r[0] * far) / (r[1] - r[0]),
          2 * (far - near) / (r[1] - r[0]),
        ]
      rows.append(
        self._row(inner[1], False, start, end, [one[2], *derivatives])
      )
    return rows

  def multistep(self, times: list[float]) -> list[Row]:
    """Returns the row of a multistep update of order len(times) - 1.

    Args:
      times: times of the earlier predictions, oldest first; start of the step;
        end of the step.
    """
    *earlier, start, end = times
    lam = [float(self.schedule.lam(t)) for t in reversed(times)]
    h = lam[0] - lam[1]
    one = np.eye(3)
    if not earlier:
      return [self._row(start, True, start, end, [one[0]])]
    r = [(lam[i] - lam[i + 1]) / h for i in range(1, len(times) - 1)]
    near = (one[0] - one[1]) / r[0]
    if len(earlier) == 1:
      return [self._second(start, True, start, end, one[0], near)]
    far = (one[1] - one[2]) / r[1]
    second = (near - far) / (r[0] + r[1])
    first = near + r[0] * second
    if self.taylor:
      second = 2 * second
    return [self._row(start, True, start, end, [one[0], first, second])]

  def _second(self, time, starts_step, start, end, value, slope):
    """Returns the row of a second order step.

    The formula of the papers differs from Taylor's.
    """
    if self.taylor:
      return self._row(time, starts_step, start, end, [value, slope])
    return self._row(time, starts_step, start, end, [value + slope / 2])

  def _row(self, time, starts_step, start, end, derivatives):
    """Returns the row of a step from `start` to `end`.

    Args:
      time: time of the evaluation.
      starts_step: see `Row`.
      start: time at the start of the step.
      end: time after the row.
      derivatives: m, D_1, ..., each as (3,) weights of the predictions.
    """
    scales = self.schedule.sigma, self.schedule.alpha
    a, b = scales if self.data else scales[::-1]
    h = self.schedule.lam(end) - self.schedule.lam(start)
    z = -h if self.data else h
    weights = sum(
      phi * d for phi, d in zip(_phis(z), derivatives, strict=False)
    )
    return Row(time, starts_step, float(a(end) / a(start)), -b(end) * weights)


def _phis(z):
  """Returns phi_1 = e^z - 1, phi_2 = phi_1/z - 1 and phi_3 = phi_2/z - 1/2."""
  first = np.expm1(z)
  second = first / z - 1
  return first, second, second / z - 0.5
