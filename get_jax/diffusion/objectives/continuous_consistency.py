"""Consistency training and distillation in continuous time.

Source: Song et al., "Consistency Models", 2023, Appendix B, and the official
code.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from get_jax.diffusion.consistency import Consistency
from get_jax.diffusion.objectives.base import DataObjective, Targets
from get_jax.diffusion.objectives.consistency import teacher_slope
from get_jax.diffusion.objectives.distances import (
  check_distance,
  distance,
  pseudo_huber,
)
from get_jax.diffusion.process import as_float32, expand
from get_jax.errors import UsageError


class ContinuousConsistency(DataObjective):
  """How far f changes along a trajectory, by one Jacobian-vector product.

  Along the trajectory, sigma falls at the rate 1. With `stop_gradient`, the
  loss has the gradient of the distance to a target that gets no gradient, at
  infinitely close levels; its value is no distance.
  """

  process_class = Consistency
  forward_mode: ClassVar[bool] = True

  process: Consistency
  distance: str
  stop_gradient: bool

  def __post_init__(self):
    super().__post_init__()
    owner, choices = type(self).__name__, ("l1", "l2", "linf")
    check_distance(owner, "distance", self.distance, choices)
    if self.stop_gradient and self.distance != "l2":
      raise UsageError(
        f"{owner}: distance is {self.distance!r}; expected 'l2', which "
        "stop_gradient=True needs"
      )

  @property
  def metric_names(self):
    """See `Objective.metric_names`."""
    return ("tangent",)

  @abc.abstractmethod
  def slope(
    self,
    samples: Mapping[str, Any],
    key: jax.Array,
    targets: Targets,
  ) -> jax.Array:
    """Returns the slope dx/dsigma at the levels, (B, H, W, C).

    Args:
      samples: as returned by `prepare`.
      key: see `DataObjective.network`.
      targets: parameters of each of `target_names`.
    """

  def loss(self, params, samples, key, targets):
    """See `Objective.loss`.

    Returns:
      The loss, and "tangent": the mean square of the change of f.
    """
    x0, noise = as_float32(samples["x0"]), as_float32(samples["noise"])
    sigma = as_float32(samples["levels"])
    x = x0 + expand(sigma, x0) * noise
    slope = jax.lax.stop_gradient(self.slope(samples, key, targets))
    network = self.network(params, samples, key)
    residual, change = jax.jvp(
      self.process.residual(network),
      (x, sigma),
      (-slope, -jnp.ones_like(sigma)),
    )
    tangent = -slope - change
    constant = jax.lax.stop_gradient(tangent)
    metrics = {"tangent": jnp.square(constant).mean()}
    if self.stop_gradient:
      axes = tuple(range(1, x.ndim))
      return -jnp.sum(constant * (x - residual), axes).mean(), metrics
    if self.distance == "l2":
      return pseudo_huber(tangent, 0.0).mean(), metrics
    return distance(self.distance, tangent).mean(), metrics


@dataclasses.dataclass(frozen=True)
class ContinuousConsistencyTraining(ContinuousConsistency):
  """Consistency training in continuous time.

  Attributes:
    distance: "l1" (mean absolute value), "l2" (norm) or "linf".
    stop_gradient: whether the target gets no gradient; needs "l2".
  """

  process: Consistency
  distance: str = "l2"
  stop_gradient: bool = True

  def slope(self, samples, key, targets):
    """See `ContinuousConsistency.slope`."""
    del key, targets
    return as_float32(samples["noise"])


@dataclasses.dataclass(frozen=True)
class ContinuousConsistencyDistillation(ContinuousConsistency):
  """Consistency distillation in continuous time, from an EDM denoiser.

  Attributes:
    distance: "l1" (mean absolute value), "l2" (norm) or "linf".
    stop_gradient: whether the target gets no gradient; needs "l2".
  """

  needs_teacher: ClassVar[bool] = True

  process: Consistency
  distance: str = "l2"
  stop_gradient: bool = True

  @classmethod
  def teacher_process(cls, process):
    """See `DataObjective.teacher_process`."""
    return process.edm

  @property
  def target_names(self):
    """See `Objective.target_names`."""
    return ("teacher",)

  def slope(self, samples, key, targets):
    """See `ContinuousConsistency.slope`."""
    x0, noise = as_float32(samples["x0"]), as_float32(samples["noise"])
    sigma = as_float32(samples["levels"])
    x = x0 + expand(sigma, x0) * noise
    return teacher_slope(self, samples, key, targets)(x, sigma)
