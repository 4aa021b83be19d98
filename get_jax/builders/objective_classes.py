"""The training objective of each task on data.

The section of a config with the name of the task has the settings of its
objective.
"""

from get_jax.diffusion.denoising import Denoising
from get_jax.diffusion.objective import DataObjective

OBJECTIVES: dict[str, type[DataObjective]] = {"denoising": Denoising}
