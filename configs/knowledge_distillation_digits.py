r"""Knowledge distillation of a DiT on handwritten digits (8x8 pixels).

  python main.py --config=configs/knowledge_distillation_digits.py \
    --workdir=runs/knowledge_distillation_digits

Trains the teacher of dit_digits.py, makes noise/image pairs with it and trains
a smaller DiT on them, which generates in one call. The pairs are those of
get_digits.py.
"""

from ml_collections import ConfigDict

from configs import dit_digits
from configs.common import experiment
from configs.recipes import digits, get


@experiment
def get_config() -> ConfigDict:
  config = get.distillation(
    dit_digits.get_config(),
    digits.denoiser(),
    count=20_000,
    dtype="float16",
    shard_size=2_000,
  )
  digits.train_and_evaluate(config, num_steps=2_500, learning_rate=1e-3)
  config.sampling.iterations = 1
  return config
