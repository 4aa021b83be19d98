"""Real digits to a one-step generator: teacher, pairs, GET, report.

  python main.py --config=configs/get_digits.py --workdir=runs/get_digits

Trains the teacher of dit_digits.py, makes noise/image pairs with it, distils a
small class-conditional GET from the pairs alone and reports on both.
"""

from configs import dit_digits
from configs.common import base, experiment


@experiment
def get_config():
  config = base()
  config.task = "distillation"
  config.teacher = dit_digits.get_config()
  config.pairs = dict(
    count=20_000,
    seed=0,
    dtype="float16",
    shard_size=2_000,
    directory="",
    teacher_workdir="",
  )
  config.data = dict(name="pairs")
  config.model = dict(
    name="GET",
    image_size=8,
    downsample=1,
    in_channels=1,
    patch_size=4,
    hidden_size=192,
    num_heads=3,
    injection_depth=1,
    equilibrium_depth=1,
    equilibrium_mlp_ratio=4.0,
    num_classes=10,
  )
  # The last iterate; the official code keeps the one that moved least.
  config.equilibrium = dict(solver=dict(name="simple"))
  # The official code starts from noise; on four tokens zeros learn faster.
  config.distillation = dict(distance="l1", decay=0.8, iterations=6, z0="zeros")
  config.batch_size = 128
  config.num_steps = 2_500
  config.optimizer.learning_rate = 1e-3
  config.optimizer.schedule = "cosine"
  config.optimizer.warmup_steps = 100
  config.optimizer.b2 = 0.95
  config.optimizer.clip_norm = 1.0
  config.ema = dict(half_life_images=10_000.0, rampup=0.05)
  config.log_every = 50
  config.checkpoint_every = 500
  config.sampling = dict(count=100, batch_size=500, seed=0, iterations=6)
  config.evaluation.extractor = "digits-v1"
  config.evaluation.scores = ("fid", "inception_score", "class_accuracy")
  config.evaluation.count = 5_000
  config.report = dict(enabled=True, iterations=(1, 2, 3, 6, 12, 24))
  return config
