"""The training objective of each task on data.

The section of a config with the name of the task has the settings of its
objective.
"""

from get_jax.diffusion.consistency_objectives import (
  ConsistencyDistillation,
  ConsistencyTraining,
)
from get_jax.diffusion.continuous_consistency import (
  ContinuousConsistencyDistillation,
  ContinuousConsistencyTraining,
)
from get_jax.diffusion.denoising import Denoising
from get_jax.diffusion.easy_consistency import EasyConsistency
from get_jax.diffusion.guidance_distillation import GuidanceDistillation
from get_jax.diffusion.improved_mean_flow import ImprovedMeanFlow
from get_jax.diffusion.mean_flow import MeanFlow
from get_jax.diffusion.objective import DataObjective
from get_jax.diffusion.progressive_distillation import ProgressiveDistillation

OBJECTIVES: dict[str, type[DataObjective]] = {
  "denoising": Denoising,
  "mean_flow": MeanFlow,
  "improved_mean_flow": ImprovedMeanFlow,
  "consistency_training": ConsistencyTraining,
  "consistency_distillation": ConsistencyDistillation,
  "continuous_consistency_training": ContinuousConsistencyTraining,
  "continuous_consistency_distillation": ContinuousConsistencyDistillation,
  "easy_consistency": EasyConsistency,
  "guidance_distillation": GuidanceDistillation,
  "progressive_distillation": ProgressiveDistillation,
}
