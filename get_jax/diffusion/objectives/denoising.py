"""The denoising training objective."""

import dataclasses

from get_jax.diffusion.objectives.base import DataObjective


@dataclasses.dataclass(frozen=True)
class Denoising(DataObjective):
  """Mean loss of a diffusion process over a batch, see `Process.loss_at`."""

  @property
  def metric_names(self):
    """See `Objective`; the metrics are those of the process."""
    return self.process.metric_names

  def loss(self, params, samples, key, targets):
    """See `Objective.loss`."""
    del targets
    net = self.network(params, samples, key)
    given = samples["x0"], samples["levels"], samples["noise"]
    losses, metrics = self.process.loss_at(net, *given)
    return losses.mean(), {k: v.mean() for k, v in metrics.items()}
