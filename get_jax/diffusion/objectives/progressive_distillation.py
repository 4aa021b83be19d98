"""Progressive distillation: one step of a network replaces two of its teacher.

Sources: Salimans and Ho, "Progressive Distillation for Fast Sampling of
Diffusion Models", 2022; on EDM's grid, Song et al., "Consistency Models", 2023,
and their official code.
"""

import abc
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.consistency import Pair
from get_jax.diffusion.objectives.base import DataObjective, Params
from get_jax.diffusion.objectives.consistency import WEIGHTINGS, weights
from get_jax.diffusion.objectives.consistency_schedules import Stages, halving
from get_jax.diffusion.objectives.distances import check_distance, distance
from get_jax.diffusion.process import as_float32, expand
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.trajectory import Trajectory, trajectory_of
from get_jax.diffusion.typing import Array
from get_jax.errors import UsageError


class Halves(NamedTuple):
  """Positions of the ends of two steps, each (B,); see `Trajectory`."""

  start: Array
  middle: Array
  end: Array


@dataclasses.dataclass(frozen=True)
class TrajectoryDistillation(DataObjective):
  """What distillations of a sampler's trajectory share.

  The noise that the network predicts is compared with that of the frozen
  teacher, as a difference of the denoised images. The run starts from the
  teacher, in which dropout is off.

  Attributes:
    distance: "l1", "l2", "linf" or "huber".
    huber_c: constant of "huber"; None: 0.00054 times the root of the number of
      dimensions.
    weighting: "uniform", "snr", "snrp1" or "truncated_snr".
    sigma_min: noise level where sampling ends, for an EDM process.
    sigma_max: noise level where it starts, for an EDM process.
    rho: exponent of EDM's grid.
  """

  needs_teacher: ClassVar[bool] = True

  distance: str = "l2"
  huber_c: float | None = None
  weighting: str = "truncated_snr"
  sigma_min: float = 0.002
  sigma_max: float = 80.0
  rho: float = 7.0

  def __post_init__(self):
    super().__post_init__()
    owner = type(self).__name__
    check_distance(owner, "distance", self.distance)
    choices = tuple(name for name in WEIGHTINGS if name != "inverse_step")
    check_choice(owner, "weighting", self.weighting, choices)
    _ = self.trajectory

  @property
  def metric_names(self):
    """See `Objective.metric_names`."""
    return ("distance",)

  @property
  def target_names(self):
    """See `Objective.target_names`."""
    return ("teacher",)

  @functools.cached_property
  def trajectory(self) -> Trajectory:
    """The trajectories of the process."""
    grid = self.sigma_min, self.sigma_max, self.rho
    owner = f"the objective {type(self).__name__}"
    return trajectory_of(self.process, owner, *grid)

  @abc.abstractmethod
  def target_noise(
    self,
    teacher: Params,
    samples: Mapping[str, Any],
    key: jax.Array,
    x: jax.Array,
  ) -> jax.Array:
    """Returns the noise (B, H, W, C) that the network is to predict.

    Args:
      teacher: parameters of the teacher.
      samples: as returned by `prepare`.
      key: see `DataObjective.network`.
      x: states (B, H, W, C), see `Trajectory`.
    """

  def position(self, samples: Mapping[str, Any]) -> jax.Array:
    """Returns the positions of the states, (B,)."""
    return as_float32(samples["levels"])

  def noise_predictor(
    self,
    params: Params,
    samples: Mapping[str, Any],
    key: jax.Array,
    train: bool,
  ):
    """Returns the noise that a network estimates; see `Trajectory.predictor`.

    Args:
      params: parameters of the network.
      samples: as returned by `prepare`; the scalar "w" is passed on.
      key: see `DataObjective.network`.
      train: see `DataObjective.network`.
    """
    network = self.network(params, samples, key, train)
    scalars = {name: samples[name] for name in ("w",) if name in samples}

    def conditioned(x, t):
      return network(x, t, **scalars)

    return self.trajectory.predictor(conditioned)

  def loss(self, params, samples, key, targets):
    """See `Objective.loss`.

    Returns:
      The loss, and "distance": the mean distance, without weights.
    """
    x0, noise = as_float32(samples["x0"]), as_float32(samples["noise"])
    position = self.position(samples)
    ratio = self.trajectory.ratio(position)
    x = x0 + expand(ratio, x0) * noise
    target = self.target_noise(targets["teacher"], samples, key, x)
    predict = self.noise_predictor(params, samples, key, train=True)
    error = jax.lax.stop_gradient(target) - predict(x, position)
    # The denoised image is x - ratio * noise.
    difference = expand(ratio, x) * error
    distances = distance(self.distance, difference, self.huber_c)
    losses = weights(self.weighting, Pair(ratio, ratio)) * distances
    return losses.mean(), {"distance": distances.mean()}


@dataclasses.dataclass(frozen=True)
class ProgressiveDistillation(TrajectoryDistillation):
  """Rounds that each halve the number of steps, from 2 N to N.

  One step of the network over an interval of the grid is to end where two half
  steps of the teacher end. Then the network becomes the teacher, the optimizer
  starts anew, and N halves. The last two rounds, to two steps and to one, are
  twice as long; the last one lasts until the end of the run.

  Attributes:
    start_scales: N of the first round, a power of two.
    steps_per_stage: training steps of a round.
    linear_decay: whether the learning rate decays to zero in each round.
    w_range: range of the guidance scales, for a network with the guidance scale
      as an input; None: it has none.
  """

  teacher_tasks: ClassVar[tuple[str, ...]] = (
    "denoising",
    "guidance_distillation",
    "progressive_distillation",
  )

  start_scales: int = 4096
  steps_per_stage: int = 50_000
  linear_decay: bool = True
  w_range: tuple[float, float] | None = None

  def __post_init__(self):
    super().__post_init__()
    scales = self.start_scales
    if scales & (scales - 1) or scales < 1:
      raise UsageError(
        f"progressive_distillation.start_scales is {scales}; expected a power "
        "of two"
      )
    owner = f"progressive_distillation.start_scales={scales}: the teacher"
    self.trajectory.check_steps(2 * scales, owner)
    check_w_range("progressive_distillation", self.w_range)

  @functools.cached_property
  def stages(self) -> Stages:
    """The rounds."""
    return halving(self.start_scales, self.steps_per_stage)

  def num_scales(self, step: Array | int) -> jax.Array:
    """Returns N at training steps, int32."""
    return jnp.asarray(self.stages.intervals, jnp.int32)[
      self.stages.stage(step)
    ]

  def sample_levels_and_noise(self, key, shape, step):
    """See `DataObjective.sample_levels_and_noise`; the levels are `Halves`."""
    level_key, noise_key = jax.random.split(key)
    scales = as_float32(self.num_scales(step))
    u = jax.random.uniform(level_key, shape[:1], jnp.float32)
    levels = self.halves(jnp.floor(u * scales), scales)
    return levels, jax.random.normal(noise_key, shape, jnp.float32)

  def halves(self, index: Array, num_scales: Array | int) -> Halves:
    """Returns the positions of the half steps of intervals.

    Args:
      index: (B,) numbers of the intervals, from 0, where sampling starts.
      num_scales: number of intervals N.
    """
    index, scales = as_float32(index), as_float32(num_scales)
    return Halves(*((index + part) / scales for part in (0.0, 0.5, 1.0)))

  def prepare(self, batch, key, step=0):
    """See `DataObjective.prepare`; with `w_range` also "w"."""
    samples = super().prepare(batch, key, step)
    if self.w_range is not None:
      samples["w"] = sample_w(key, self.w_range, len(samples["x0"]))
    return samples

  def position(self, samples):
    """See `TrajectoryDistillation.position`."""
    return as_float32(samples["levels"][0])

  def target_noise(self, teacher, samples, key, x):
    """See `TrajectoryDistillation.target_noise`; the mean of two steps."""
    predict = self.noise_predictor(teacher, samples, key, train=False)
    start, middle, end = map(as_float32, samples["levels"])
    high, half, low = map(self.trajectory.ratio, (start, middle, end))
    first = predict(x, start)
    second = predict(x + expand(half - high, x) * first, middle)
    share = (half - low) / (high - low)
    return first + expand(share, x) * (second - first)

  def update_targets(self, targets, params, step):
    """See `Objective.update_targets`."""
    ends = self.restarts_optimizer(step)
    teacher = jax.tree.map(
      lambda new, old: jnp.where(ends, new, old), params, targets["teacher"]
    )
    return {**targets, "teacher": teacher}

  def restarts_optimizer(self, step):
    """See `Objective.restarts_optimizer`; at the end of a round."""
    first = jnp.asarray(self.stages.first_steps[1:], jnp.int32)
    return (first == jnp.asarray(step, jnp.int32) + 1).any()

  def learning_rate_factor(self, step):
    """See `Objective.learning_rate_factor`."""
    if not self.linear_decay:
      return 1.0
    first = self.stages.first_steps
    # The last round has twice as many steps.
    lengths = np.append(np.diff(first), 2 * self.steps_per_stage)
    stage = self.stages.stage(step)
    done = jnp.asarray(step, jnp.int32) - jnp.asarray(first, jnp.int32)[stage]
    return jnp.maximum(1 - done / as_float32(lengths)[stage], 0.0)


def sample_w(
  key: jax.Array, w_range: tuple[float, float], batch: int
) -> jax.Array:
  """Samples guidance scales uniformly, (batch,).

  Args:
    key: PRNG key of the step.
    w_range: lowest and highest scale.
    batch: number of samples.
  """
  low, high = w_range
  own = jax.random.fold_in(key, 1)
  return jax.random.uniform(own, (batch,), jnp.float32, low, high)


def check_w_range(owner: str, w_range: tuple[float, float] | None) -> None:
  """Checks a range of guidance scales.

  Raises:
    UsageError: it does not increase.
  """
  if w_range is not None and not w_range[0] < w_range[1]:
    raise UsageError(
      f"{owner}.w_range is {tuple(w_range)}; expected (low, high)"
    )
