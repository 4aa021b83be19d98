from get_jax.diffusion.objectives.base import Objective


class PlainObjective(Objective):
  """An objective with the loss `function(params, batch, key)`."""

  def __init__(self, function):
    self.function = function

  def prepare(self, batch, key, step=0):
    return batch

  def loss(self, params, samples, key, targets):
    return self.function(params, samples, key)
