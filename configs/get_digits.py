"""A one-step generator of handwritten digits: teacher, pairs, GET, report.

  python main.py --config=configs/get_digits.py --workdir=runs/get_digits

Trains the teacher of dit_digits.py, makes noise/image pairs with it, distils a
small class-conditional GET from the pairs alone and reports on both.
"""

from ml_collections import ConfigDict

from configs import dit_digits
from configs.common import experiment
from configs.recipes import digits, get


@experiment
def get_config() -> ConfigDict:
  model = dict(
    name="GET",
    **digits.IMAGES,
    num_heads=3,
    injection_depth=1,
    equilibrium_depth=1,
    equilibrium_mlp_ratio=4.0,
    num_classes=10,
  )
  # The official code starts from noise; on four tokens zeros learn faster.
  config = get.distillation(
    dit_digits.get_config(),
    model,
    count=20_000,
    dtype="float16",
    shard_size=2_000,
    z0="zeros",
  )
  # The last iterate; the official code keeps the one with the least residual.
  config.equilibrium = dict(solver=dict(name="simple"))
  digits.train_and_evaluate(config, num_steps=2_500, learning_rate=1e-3)
  config.optimizer.b2 = 0.95
  config.optimizer.clip_norm = 1.0
  config.sampling.iterations = 6
  config.report = dict(enabled=True, iterations=(1, 2, 3, 6, 12, 24))
  return config
