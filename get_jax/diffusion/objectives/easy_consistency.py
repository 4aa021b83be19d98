"""Easy consistency tuning (ECT), which starts from a trained denoiser.

Source: Geng et al., "Consistency Models Made Easy", 2024, and the official
code.
"""

import dataclasses

import jax
import jax.numpy as jnp

from get_jax.diffusion.consistency import Pair
from get_jax.diffusion.edm import EDM
from get_jax.diffusion.objectives.base import DataObjective
from get_jax.diffusion.objectives.distances import pseudo_huber
from get_jax.diffusion.process import as_float32, expand
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.typing import Array


@dataclasses.dataclass(frozen=True)
class EasyConsistency(DataObjective):
  """Distance of EDM's D at the level t and at a lower one, r.

  r = max(0, t (1 - q^-(s + 1) (1 + k sigmoid(-b t)))), so that r comes closer
  to t with every stage s. The target D(x, r), or the data if r = 0, gets no
  gradient, and the distance is divided by t - r. Both have the same noise and
  dropout. The levels t are those of the process, with p_mean=-1.1 and p_std=2.0
  in the paper.

  Attributes:
    mapping: "sigmoid", or "const" for k = 0.
    q: factor by which a stage divides t - r.
    k: weight of the sigmoid.
    b: slope of the sigmoid.
    huber_c: c of the distance sqrt(|d|^2 + c^2) - c.
    stage_steps: number of training steps of a stage.
  """

  process_class = EDM
  takes_teacher = True

  process: EDM
  mapping: str = "sigmoid"
  q: float = 2.0
  k: float = 8.0
  b: float = 1.0
  huber_c: float = 0.0
  stage_steps: int = 10_000

  def __post_init__(self):
    super().__post_init__()
    choices = ("sigmoid", "const")
    check_choice("EasyConsistency", "mapping", self.mapping, choices)

  @property
  def metric_names(self):
    """See `Objective.metric_names`."""
    return ("distance",)

  def lower_level(self, t: Array, stage: Array | int) -> jax.Array:
    """Returns r.

    Args:
      t: (B,) noise levels.
      stage: number of the stage, from 0.
    """
    t = as_float32(t)
    share = as_float32(self.q) ** -(as_float32(stage) + 1)
    if self.mapping == "sigmoid":
      share = share * (1 + self.k * jax.nn.sigmoid(-self.b * t))
    return jnp.maximum(0, t * (1 - share))

  def sample_levels_and_noise(self, key, shape, step):
    """See `DataObjective.sample_levels_and_noise`; the levels are a `Pair`."""
    t, noise = super().sample_levels_and_noise(key, shape, step)
    return Pair(t, self.lower_level(t, step // self.stage_steps)), noise

  def loss(self, params, samples, key, targets):
    """See `Objective.loss`.

    Returns:
      The loss, and "distance": the mean distance, without weights.
    """
    del targets
    x0, noise = as_float32(samples["x0"]), as_float32(samples["noise"])
    t, r = map(as_float32, samples["levels"])
    residual = self.process.residual(self.network(params, samples, key))

    def state(sigma):
      return x0 + expand(sigma, x0) * noise

    # D(x, r) is x - residual, and the data at r = 0, where the network is not
    # defined.
    at_data = r <= 0
    defined = jnp.where(at_data, t, r)
    low = jax.lax.stop_gradient(residual(state(defined), defined))
    low = jnp.where(expand(at_data, low), 0.0, low)
    difference = low + expand(t - r, x0) * noise - residual(state(t), t)
    distances = pseudo_huber(difference, self.huber_c)
    return (distances / (t - r)).mean(), {"distance": distances.mean()}
