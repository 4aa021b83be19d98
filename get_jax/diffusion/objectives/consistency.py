"""Consistency training and distillation on a grid of noise levels.

Sources: Song et al., "Consistency Models", 2023; Song and Dhariwal, "Improved
Techniques for Training Consistency Models", 2023. Where the first paper and its
official code differ, this is the code.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from get_jax.diffusion.consistency import Consistency, Pair
from get_jax.diffusion.edm import EDM
from get_jax.diffusion.objectives.base import DataObjective, Params, Targets
from get_jax.diffusion.objectives.consistency_schedules import (
  SCHEDULES,
  Stages,
  make_stages,
)
from get_jax.diffusion.objectives.distances import check_distance, distance
from get_jax.diffusion.process import as_float32, expand
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.typing import Array
from get_jax.errors import UsageError

WEIGHTINGS = ("uniform", "snr", "snrp1", "truncated_snr", "inverse_step")


def weights(weighting: str, pair: Pair) -> jax.Array:
  """Returns the weights of the distances, (B,).

  Args:
    weighting: "uniform" (1), "snr" (1/sigma^2), "snrp1" (1/sigma^2 + 1),
      "truncated_snr" (at least 1), each at the higher level, or "inverse_step",
      the inverse of the difference of the levels.
    pair: the noise levels.
  """
  high, low = as_float32(pair.high), as_float32(pair.low)
  match weighting:
    case "snr":
      return 1 / high**2
    case "snrp1":
      return 1 / high**2 + 1
    case "truncated_snr":
      return jnp.maximum(1 / high**2, 1)
    case "inverse_step":
      return 1 / (high - low)
  return jnp.ones_like(high)


class DiscreteConsistency(DataObjective):
  """Weighted distance of f at two neighbouring noise levels of a trajectory.

  The target is f of the target network at the lower level, and gets no
  gradient. Both networks drop the same units.
  """

  process_class = Consistency

  process: Consistency
  distance: str
  huber_c: float | None
  weighting: str

  def __post_init__(self):
    super().__post_init__()
    owner = type(self).__name__
    check_distance(owner, "distance", self.distance)
    check_choice(owner, "weighting", self.weighting, WEIGHTINGS)

  @property
  def metric_names(self):
    """See `Objective.metric_names`."""
    return ("distance",)

  @property
  @abc.abstractmethod
  def has_target(self) -> bool:
    """Whether the target network is an average; else it is the network."""

  @property
  def target_names(self):
    """See `Objective.target_names`."""
    return ("target",) if self.has_target else ()

  @abc.abstractmethod
  def num_scales(self, step: Array | int) -> Array | int:
    """Returns the number of noise levels at a training step."""

  @abc.abstractmethod
  def target_decay(self, step: Array | int) -> Array | float:
    """Returns the decay of the target network at a training step."""

  @abc.abstractmethod
  def slope(
    self,
    samples: Mapping[str, Any],
    key: jax.Array,
    targets: Targets,
  ) -> jax.Array:
    """Returns the mean slope dx/dsigma between the levels, (B, H, W, C).

    Args:
      samples: as returned by `prepare`.
      key: see `DataObjective.network`.
      targets: parameters of each of `target_names`.
    """

  def sample_levels_and_noise(self, key, shape, step):
    """See `DataObjective.sample_levels_and_noise`; the levels are a `Pair`."""
    sigma, noise = super().sample_levels_and_noise(key, shape, step)
    return self.process.pair_around(sigma, self.num_scales(step)), noise

  def loss(self, params, samples, key, targets):
    """See `Objective.loss`.

    Returns:
      The loss, and "distance": the mean distance, without weights.
    """
    x0, noise = as_float32(samples["x0"]), as_float32(samples["noise"])
    pair = Pair(*map(as_float32, samples["levels"]))
    x = x0 + expand(pair.high, x0) * noise
    step = expand(pair.high - pair.low, x)
    moved = jax.lax.stop_gradient(step * self.slope(samples, key, targets))
    target = targets["target"] if self.has_target else params

    def residual(params, x, sigma):
      network = self.network(params, samples, key)
      return self.process.residual(network)(x, sigma)

    # f(x) is x - residual; the difference of the states is known.
    low = jax.lax.stop_gradient(residual(target, x - moved, pair.low))
    difference = moved - residual(params, x, pair.high) + low
    distances = distance(self.distance, difference, self.huber_c)
    losses = weights(self.weighting, pair) * distances
    return losses.mean(), {"distance": distances.mean()}

  def update_targets(self, targets, params, step):
    """See `Objective.update_targets`."""
    if not self.has_target:
      return targets
    new = optax.incremental_update(
      params, targets["target"], 1 - as_float32(self.target_decay(step))
    )
    return {**targets, "target": new}


@dataclasses.dataclass(frozen=True)
class ConsistencyTraining(DiscreteConsistency):
  """Consistency training: the trajectories lead straight to the data.

  The defaults are those of the first paper on CIFAR-10, except for the
  distance, which is LPIPS there. Improved consistency training has
  distance="huber", weighting="inverse_step", schedule="doubling",
  start_scales=10, end_scales=1280, schedule_steps=400_000 and start_decay=0,
  and its process has distribution="log_normal".

  Attributes:
    distance: "l1", "l2", "linf" or "huber".
    huber_c: constant of "huber"; None: 0.00054 times the root of the number of
      dimensions.
    weighting: "uniform", "snr", "snrp1", "truncated_snr" or "inverse_step".
    schedule: growth of the number of intervals between noise levels:
      "progressive" or "doubling".
    start_scales: number of intervals of the first step.
    end_scales: number of intervals of the last steps.
    schedule_steps: number of steps over which the number grows.
    start_decay: decay of the target network in the first step; it grows with
      the number of intervals. 0: the target network is the network itself.
  """

  process: Consistency
  distance: str = "l2"
  huber_c: float | None = None
  weighting: str = "uniform"
  schedule: str = "progressive"
  start_scales: int = 2
  end_scales: int = 150
  schedule_steps: int = 800_000
  start_decay: float = 0.9

  def __post_init__(self):
    super().__post_init__()
    owner = type(self).__name__
    check_choice(owner, "schedule", self.schedule, SCHEDULES)
    if self.end_scales < self.start_scales:
      raise UsageError(
        f"consistency_training.end_scales is {self.end_scales}; expected at "
        f"least start_scales={self.start_scales}"
      )

  @functools.cached_property
  def stages(self) -> Stages:
    """The stages of the number of intervals."""
    scales = self.start_scales, self.end_scales
    return make_stages(self.schedule, *scales, self.schedule_steps)

  @property
  def has_target(self):
    """See `DiscreteConsistency.has_target`."""
    return self.start_decay > 0

  def num_scales(self, step):
    """See `DiscreteConsistency.num_scales`."""
    intervals = jnp.asarray(self.stages.intervals, jnp.int32)
    return intervals[self.stages.stage(step)] + 1

  def target_decay(self, step):
    """See `DiscreteConsistency.target_decay`."""
    log_decay = self.start_scales * math.log(self.start_decay)
    decays = np.exp(log_decay / self.stages.intervals)
    return as_float32(decays)[self.stages.stage(step)]

  def slope(self, samples, key, targets):
    """See `DiscreteConsistency.slope`."""
    del key, targets
    return as_float32(samples["noise"])


@dataclasses.dataclass(frozen=True)
class ConsistencyDistillation(DiscreteConsistency):
  """Consistency distillation: a denoiser gives the trajectories.

  The run starts from the parameters of the teacher, an EDM denoiser. They stay
  the teacher's; dropout is off in it.

  Attributes:
    distance: "l1", "l2", "linf" or "huber".
    huber_c: constant of "huber"; None: 0.00054 times the root of the number of
      dimensions.
    weighting: "uniform", "snr", "snrp1", "truncated_snr" or "inverse_step".
    solver: solver of the teacher's ODE, "heun" or "euler".
    scales: number of noise levels.
    decay: decay of the target network. 0: the target network is the network
      itself.
  """

  needs_teacher: ClassVar[bool] = True

  process: Consistency
  distance: str = "l2"
  huber_c: float | None = None
  weighting: str = "uniform"
  solver: str = "heun"
  scales: int = 18
  decay: float = 0.0

  def __post_init__(self):
    super().__post_init__()
    owner = type(self).__name__
    check_choice(owner, "solver", self.solver, ("heun", "euler"))
    if self.scales < 2:
      raise UsageError(
        f"consistency_distillation.scales is {self.scales}; expected 2 or more"
      )

  @classmethod
  def teacher_process(cls, process):
    """See `DataObjective.teacher_process`."""
    return process.edm

  @property
  def has_target(self):
    """See `DiscreteConsistency.has_target`."""
    return self.decay > 0

  @property
  def target_names(self):
    """See `Objective.target_names`."""
    return ("teacher", *super().target_names)

  def num_scales(self, step):
    """See `DiscreteConsistency.num_scales`."""
    del step
    return self.scales

  def target_decay(self, step):
    """See `DiscreteConsistency.target_decay`."""
    del step
    return self.decay

  def slope(self, samples, key, targets):
    """See `DiscreteConsistency.slope`; one step of the solver."""
    predict = teacher_slope(self, samples, key, targets)
    x0, noise = as_float32(samples["x0"]), as_float32(samples["noise"])
    high, low = map(as_float32, samples["levels"])
    x = x0 + expand(high, x0) * noise
    first = predict(x, high)
    if self.solver == "euler":
      return first
    end = x - expand(high - low, x) * first
    return (first + predict(end, low)) / 2


def teacher_slope(
  objective: DataObjective,
  samples: Mapping[str, Any],
  key: jax.Array,
  targets: Mapping[str, Params],
) -> Callable[..., jax.Array]:
  """Returns the slope dx/dsigma of the teacher's ODE, as (x, sigma) -> slope.

  Args:
    objective: an objective with a teacher.
    samples: as returned by `prepare`.
    key: see `DataObjective.network`.
    targets: the parameters of "teacher".
  """
  network = objective.network(targets["teacher"], samples, key, train=False)
  process = objective.teacher_process(objective.process)
  assert isinstance(process, EDM)
  return process.predictor(network)
