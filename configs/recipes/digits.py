"""Experiments on scikit-learn's handwritten digits (8x8 pixels, ten classes).

They are this project's own and train on a CPU. `get_digits` trains its teacher,
the DiT of `dit_digits`, makes noise/image pairs with it, distils a GET from the
pairs and reports on both.
"""

from typing import Any

from ml_collections import ConfigDict

# Fields of the teacher's and of the student's network.
IMAGES = dict(
  image_size=8, downsample=1, in_channels=1, patch_size=4, hidden_size=192
)


def denoiser(**fields: Any) -> dict[str, Any]:
  """Returns a DiT with about as many parameters as the GET of `get_digits`.

  Args:
    **fields: further fields of the network.
  """
  network = dict(IMAGES, hidden_size=128, depth=3, num_heads=2, num_classes=10)
  return dict(network, name="DiT", null_class=False, learn_sigma=False) | fields


def train_and_evaluate(
  config: ConfigDict, num_steps: int, learning_rate: float
) -> None:
  """Sets optimiser, average, intervals, sampling and evaluation.

  Args:
    config: of the teacher or of the student.
    num_steps: steps of training.
    learning_rate: after the warm-up; it then decays as a cosine.
  """
  config.batch_size = 128
  config.num_steps = num_steps
  config.optimizer.learning_rate = learning_rate
  config.optimizer.schedule = "cosine"
  config.optimizer.warmup_steps = 100
  config.ema = dict(half_life_images=10_000.0, rampup=0.05)
  config.log_every = 50
  config.checkpoint_every = config.preview_every = 500
  config.sampling = dict(count=100, batch_size=500, seed=0)
  config.evaluation.extractor = "digits-v1"
  config.evaluation.scores = ("fid", "inception_score", "class_accuracy")
  config.evaluation.count = 5_000
