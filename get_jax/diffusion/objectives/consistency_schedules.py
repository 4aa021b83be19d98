"""Number of noise levels of a distillation or training, by training step.

The schedules are computed in float64 on the host, as tables of the steps at
which the number changes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.typing import Array

SCHEDULES = ("progressive", "doubling")


class Stages(NamedTuple):
  """Stages of a run with one number of intervals each.

  Attributes:
    first_steps: (S,) first training step of each stage.
    intervals: (S,) number of intervals between the noise levels.
  """

  first_steps: np.ndarray
  intervals: np.ndarray

  def stage(self, step: Array | int) -> jax.Array:
    """Returns the number of the stage of a step."""
    first = jnp.asarray(self.first_steps, jnp.int32)
    return jnp.searchsorted(first, jnp.asarray(step, jnp.int32), "right") - 1


def progressive(start: int, end: int, steps: int) -> Stages:
  """Returns the stages of consistency training.

  After k of K steps there are ceil(sqrt(k/K ((e + 1)^2 - s^2) + s^2) - 1)
  intervals, and at least one.

  Args:
    start: s.
    end: e, the number of intervals of the last step.
    steps: K; the number does not grow after it.

  Source: Song et al., "Consistency Models", 2023, Appendix C.
  """
  share = np.arange(steps + 1) / steps
  root = np.sqrt(share * ((end + 1) ** 2 - start**2) + start**2)
  intervals = np.maximum(np.ceil(root - 1), 1).astype(int)
  # The last step of a run is K - 1.
  intervals = intervals[:-1]
  first = np.flatnonzero(np.diff(intervals, prepend=0))
  return Stages(first, intervals[first])


def doubling(start: int, end: int, steps: int) -> Stages:
  """Returns the stages of improved consistency training.

  The number of intervals doubles from s to e in equally long stages.

  Args:
    start: s.
    end: e.
    steps: K; the number does not grow after it.

  Source: Song and Dhariwal, "Improved Techniques for Training Consistency
  Models", 2023, Section 3.4.
  """
  count = int(np.log2(end // start)) + 1
  length = max(1, int(steps / (np.log2(end // start) + 1)))
  stages = np.arange(count + (start * 2 ** (count - 1) < end))
  return Stages(stages * length, np.minimum(start * 2**stages, end))


def halving(start: int, steps: int) -> Stages:
  """Returns the stages of progressive distillation.

  The number of intervals halves from `start` to 1. The stages with two and with
  one are twice as long.

  Args:
    start: number of intervals of the first stage, a power of two.
    steps: training steps of a stage.

  Source: the official code of Song et al., "Consistency Models", 2023.
  """
  intervals = start // 2 ** np.arange(start.bit_length())
  lengths = np.where(intervals <= 2, 2, 1) * steps
  return Stages(np.append(0, np.cumsum(lengths)[:-1]), intervals)


def make_stages(schedule: str, start: int, end: int, steps: int) -> Stages:
  """Returns the stages of a schedule by name, one of `SCHEDULES`."""
  make = progressive if schedule == "progressive" else doubling
  return make(start, end, steps)
