"""Experiments on scikit-learn's handwritten digits (8x8 pixels, ten classes).

They are this project's own and train on a CPU. `get_digits` trains its teacher,
the DiT of `dit_digits`, makes noise/image pairs with it, distils a GET from the
pairs and reports on both.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.common import base

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


def edm_teacher() -> ConfigDict:
  """Returns the experiment of a denoiser with the network `denoiser()`."""
  config = base()
  config.data = dict(name="digits")
  config.model = denoiser()
  # DiT's sinusoid expects times up to 1000; c_noise is about -1.5 to 1.1.
  config.process = dict(
    name="edm", sigma_data=0.75, time_scale=400.0, reduction="mean"
  )
  config.sampler = dict(name="heun", num_steps=18)
  train_and_evaluate(config, num_steps=1_000, learning_rate=2e-3)
  return config


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
  config.checkpoint_every = 500
  config.sampling = dict(count=100, batch_size=500, seed=0)
  config.evaluation.extractor = "digits-v1"
  config.evaluation.scores = ("fid", "inception_score", "class_accuracy")
  config.evaluation.count = 5_000


def guided_teacher() -> ConfigDict:
  """Returns the experiment of a denoiser that guidance can be applied to."""
  config = edm_teacher()
  config.model = denoiser(null_class=True)
  config.label_dropout = 0.1
  return config


def guidance_distillation() -> ConfigDict:
  """Returns the experiment of a denoiser with the guidance scale as an input.

  The first stage of guided distillation; the second starts from it.
  """
  config = base()
  config.task = "guidance_distillation"
  config.teacher = guided_teacher()
  config.data = dict(name="digits")
  config.model = denoiser(null_class=True, scalars=("w",))
  config.process = config.teacher.process.copy_and_resolve_references()
  config.guidance_distillation = dict(w_range=(1.0, 4.0))
  config.sampler = dict(name="euler_grid", num_steps=64, w=2.0)
  train_and_evaluate(config, num_steps=1_000, learning_rate=1e-3)
  return config
