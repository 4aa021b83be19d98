"""Training objectives, by the name of their task.

The section of a config with the name of the task has the settings of its
objective.
"""

from get_jax.diffusion.objectives.base import DataObjective, Objective
from get_jax.diffusion.objectives.consistency import (
  ConsistencyDistillation,
  ConsistencyTraining,
)
from get_jax.diffusion.objectives.continuous_consistency import (
  ContinuousConsistencyDistillation,
  ContinuousConsistencyTraining,
)
from get_jax.diffusion.objectives.denoising import Denoising
from get_jax.diffusion.objectives.easy_consistency import EasyConsistency
from get_jax.diffusion.objectives.guidance_distillation import (
  GuidanceDistillation,
)
from get_jax.diffusion.objectives.improved_mean_flow import ImprovedMeanFlow
from get_jax.diffusion.objectives.mean_flow import MeanFlow
from get_jax.diffusion.objectives.progressive_distillation import (
  ProgressiveDistillation,
)

__all__ = [
  "OBJECTIVES",
  "ConsistencyDistillation",
  "ConsistencyTraining",
  "ContinuousConsistencyDistillation",
  "ContinuousConsistencyTraining",
  "DataObjective",
  "Denoising",
  "EasyConsistency",
  "GuidanceDistillation",
  "ImprovedMeanFlow",
  "MeanFlow",
  "Objective",
  "ProgressiveDistillation",
]

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
