"""Feature extractors and scores of sample quality.

extractor = create_extractor("digits-v1")
reference = summarize_images(extractor, batches(real, 500))
samples = summarize_images(extractor, batches(to_uint8(x), 500), labels)
compute_scores(samples, reference, ("fid", "class_accuracy"))
"""

from get_jax.evaluation.extractors.classifier import (
  Classifier,
  ClassifierExtractor,
  ExtractorOutput,
  load_classifier,
  save_classifier,
)
from get_jax.evaluation.extractors.inception_extractor import (
  InceptionExtractor,
)
from get_jax.evaluation.extractors.inception_weights import (
  locate_inception_file,
)
from get_jax.evaluation.extractors.registry import (
  CallableExtractor,
  FeatureExtractor,
  create_extractor,
)
from get_jax.evaluation.feature_shards import FeatureShards
from get_jax.evaluation.features import (
  FeatureSummary,
  batches,
  extract_features,
  summarize_features,
  summarize_images,
)
from get_jax.evaluation.plotting import plot_curve
from get_jax.evaluation.presets import PRESETS, Preset, get_preset
from get_jax.evaluation.quantization import to_uint8
from get_jax.evaluation.reference import (
  Reference,
  cached_reference,
  read_reference,
  write_reference,
)
from get_jax.evaluation.results import (
  EvaluationProtocol,
  EvaluationResult,
  lowest_fid,
)
from get_jax.evaluation.scores.classifier_scores import (
  class_accuracy,
  inception_score,
)
from get_jax.evaluation.scores.frechet import frechet_distance
from get_jax.evaluation.scores.kid import kernel_inception_distance
from get_jax.evaluation.scores.precision_recall import precision_recall
from get_jax.evaluation.scores.registry import (
  NEEDS_FEATURES,
  SCORES,
  Conventions,
  compute_scores,
)
from get_jax.evaluation.statistics import (
  GaussianStatistics,
  RunningStatistics,
  merge_across_processes,
)

__all__ = [
  "NEEDS_FEATURES",
  "PRESETS",
  "SCORES",
  "CallableExtractor",
  "Classifier",
  "ClassifierExtractor",
  "Conventions",
  "EvaluationProtocol",
  "EvaluationResult",
  "ExtractorOutput",
  "FeatureExtractor",
  "FeatureShards",
  "FeatureSummary",
  "GaussianStatistics",
  "InceptionExtractor",
  "Preset",
  "Reference",
  "RunningStatistics",
  "batches",
  "cached_reference",
  "class_accuracy",
  "compute_scores",
  "create_extractor",
  "extract_features",
  "frechet_distance",
  "get_preset",
  "inception_score",
  "kernel_inception_distance",
  "load_classifier",
  "locate_inception_file",
  "lowest_fid",
  "merge_across_processes",
  "plot_curve",
  "precision_recall",
  "read_reference",
  "save_classifier",
  "summarize_features",
  "summarize_images",
  "to_uint8",
  "write_reference",
]
