"""A small DiT that learns to denoise handwritten digits (8x8, ten classes).

  python main.py --config=configs/dit_digits.py --workdir=runs/dit_digits

The teacher of get_digits.py: EDM preconditioning and loss, Heun with 18 steps.
"""

from configs.common import base, experiment


@experiment
def get_config():
  config = base()
  config.data = dict(name="digits")
  config.model = dict(
    name="DiT",
    image_size=8,
    downsample=1,
    in_channels=1,
    patch_size=4,
    hidden_size=192,
    depth=4,
    num_heads=3,
    num_classes=10,
    null_class=False,
    learn_sigma=False,
  )
  # The sinusoid of DiT wants times up to 1000; c_noise is about -1.5 to 1.1.
  config.process = dict(
    name="edm", sigma_data=0.75, time_scale=400.0, reduction="mean"
  )
  config.batch_size = 128
  config.num_steps = 1_500
  config.optimizer.learning_rate = 2e-3
  config.optimizer.schedule = "cosine"
  config.optimizer.warmup_steps = 100
  config.ema = dict(half_life_images=10_000.0, rampup=0.05)
  config.log_every = 50
  config.checkpoint_every = 500
  config.sampler = dict(name="heun", num_steps=18)
  config.sampling = dict(count=100, batch_size=500, seed=0)
  config.evaluation.extractor = "digits-v1"
  config.evaluation.scores = ("fid", "inception_score", "class_accuracy")
  config.evaluation.count = 5_000
  return config
