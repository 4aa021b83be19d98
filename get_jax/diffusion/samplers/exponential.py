"""The steps of DPM-Solver and DPM-Solver++ as weights, in float64.

Lu et al., "DPM-Solver" and "DPM-Solver++". Both solve the ODE exactly but for
a Taylor polynomial of the prediction in lambda: of the noise, or (++) of the
data. With z = h or, for data, z = -h, where h is the step in lambda, every
step reads

  x_to = (a_to / a_from) x - b_to (phi_1(z) m + phi_2(z) D_1 + phi_3(z) D_2)

where (a, b) is (alpha, sigma) or, for data, (sigma, alpha), m is the
prediction at the step's begin and D_1, D_2 are estimates of h m' and h^2 m''
from further predictions. Weights of predictions are listed newest first.
"""

from typing import NamedTuple

import numpy as np

from get_jax.diffusion.schedules import NoiseSchedule


class Row(NamedTuple):
  """One evaluation, and the state made with it.

  Attributes:
    time: where the network is evaluated.
    begins: whether a step begins there.
    base_weight: weight of the state at the step's begin.
    weights: (3,) of the last three predictions, the newest first.
  """

  time: float
  begins: bool
  base_weight: float
  weights: np.ndarray


class Exponential(NamedTuple):
  """The steps' arithmetic.

  Attributes:
    schedule: of the process.
    data: whether predictions are of the data (DPM-Solver++).
    taylor: D_1 of a second order step by Taylor's formula and, with three
      predictions, D_2 as well; otherwise as in the official code, whose third
      order multistep has half of D_2 and is of second order therefore.
  """

  schedule: NoiseSchedule
  data: bool
  taylor: bool

  def single(self, times: list[float]) -> list[Row]:
    """One single-step update of order len(times) - 1.

    Args:
      times: its begin, its inner times, its end.
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

  def multi(self, times: list[float]) -> list[Row]:
    """One multistep update of order len(times) - 1.

    Args:
      times: those of the earlier predictions, oldest first, the step's
        begin, its end.
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

  def _second(self, time, begins, start, end, value, slope):
    """A second order step, in which the papers differ from Taylor."""
    if self.taylor:
      return self._row(time, begins, start, end, [value, slope])
    return self._row(time, begins, start, end, [value + slope / 2])

  def _row(self, time, begins, start, end, derivatives):
    """From `start` to `end` with m, D_1, ... as combinations of predictions."""
    scales = self.schedule.sigma, self.schedule.alpha
    a, b = scales if self.data else scales[::-1]
    h = self.schedule.lam(end) - self.schedule.lam(start)
    z = -h if self.data else h
    weights = sum(
      phi * d for phi, d in zip(_phis(z), derivatives, strict=False)
    )
    return Row(time, begins, float(a(end) / a(start)), -b(end) * weights)


def _phis(z):
  """phi_1 = e^z - 1, phi_2 = phi_1 / z - 1, phi_3 = phi_2 / z - 1 / 2."""
  first = np.expm1(z)
  second = first / z - 1
  return first, second, second / z - 0.5
