"""Feature extractors and scores of sample quality.

extractor = create_extractor("digits-v1")
reference = summarize_images(extractor, batches(real, 500))
samples = summarize_images(extractor, batches(to_uint8(x), 500), labels)
compute_scores(samples, reference, ("fid", "class_accuracy"))
"""

from get_jax.evaluation.curves import (
  plot_curve,
)
from get_jax.evaluation.extractors.classifier import (
  Classifier,
  ClassifierExtractor,
  Extracted,
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
from get_jax.evaluation.feature_shards import (
  FeatureShards,
)
from get_jax.evaluation.images import (
  to_uint8,
)
from get_jax.evaluation.presets import (
  PRESETS,
  Preset,
  get_preset,
)
from get_jax.evaluation.protocol import (
  Protocol,
  Result,
  lowest_fid,
)
from get_jax.evaluation.reference import (
  Reference,
  cached_reference,
  read_reference,
  write_reference,
)
from get_jax.evaluation.scores.classifier_scores import (
  class_accuracy,
  inception_score,
)
from get_jax.evaluation.scores.frechet import (
  frechet_distance,
)
from get_jax.evaluation.scores.kid import (
  kernel_inception_distance,
)
from get_jax.evaluation.scores.precision_recall import (
  precision_recall,
)
from get_jax.evaluation.scores.registry import (
  NEEDS_ROWS,
  SCORES,
  Conventions,
  compute_scores,
)
from get_jax.evaluation.statistics import (
  GaussianStatistics,
  RunningStatistics,
  merge_across_hosts,
)
from get_jax.evaluation.summary import (
  Summary,
  batches,
  extract,
  summarize,
  summarize_images,
)

__all__ = [
  "NEEDS_ROWS",
  "PRESETS",
  "SCORES",
  "CallableExtractor",
  "Classifier",
  "ClassifierExtractor",
  "Conventions",
  "Extracted",
  "FeatureExtractor",
  "FeatureShards",
  "GaussianStatistics",
  "InceptionExtractor",
  "Preset",
  "Protocol",
  "Reference",
  "Result",
  "RunningStatistics",
  "Summary",
  "batches",
  "cached_reference",
  "class_accuracy",
  "compute_scores",
  "create_extractor",
  "extract",
  "frechet_distance",
  "get_preset",
  "inception_score",
  "kernel_inception_distance",
  "load_classifier",
  "locate_inception_file",
  "lowest_fid",
  "merge_across_hosts",
  "plot_curve",
  "precision_recall",
  "read_reference",
  "save_classifier",
  "summarize",
  "summarize_images",
  "to_uint8",
  "write_reference",
]
