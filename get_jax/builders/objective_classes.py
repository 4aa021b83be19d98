"""The training objective of each task on data.

The section of a config with the name of the task has the settings of its
objective.
"""

from get_jax.diffusion.denoising import Denoising
from get_jax.diffusion.improved_mean_flow import ImprovedMeanFlow
from get_jax.diffusion.mean_flow import MeanFlow
from get_jax.diffusion.objective import DataObjective

OBJECTIVES: dict[str, type[DataObjective]] = {
  "denoising": Denoising,
  "mean_flow": MeanFlow,
  "improved_mean_flow": ImprovedMeanFlow,
}
