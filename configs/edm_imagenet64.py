r"""EDM on ImageNet at 64 pixels, ADM's architecture.

  python main.py --config=configs/edm_imagenet64.py \
    --workdir=runs/edm_imagenet64

Published: FID 1.36 on 50,000 samples of 256 stochastic Heun steps (511
evaluations), the least of three sets (Karras et al. 2022, abstract).

Hardware: 32 A100, about 13 days (the authors' README).

Differs: float32 by default, where the official code trains in float16;
--config.model.dtype=bfloat16 is the nearest here, with the range of float32 and
three bits less than float16. The official code multiplies the loss by 100 and
never divides it out; under Adam that is an eps of 1e-8 / 100, which is what
stands here. Records come epoch by epoch.
"""

from configs.common import experiment
from configs.recipes import datasets, edm

LOSS_SCALE = 100


@experiment
def get_config():
  config = edm.recipe(
    dict(name="ADM-64"),
    datasets.imagenet64(),
    images=2_500_000_000,
    batch_size=4096,
    learning_rate=1e-4,
    augment=0.0,
    half_life_images=50_000_000.0,
  )
  config.optimizer.eps /= LOSS_SCALE
  config.sampler = dict(
    name="heun",
    num_steps=256,
    s_churn=40.0,
    s_min=0.05,
    s_max=50.0,
    s_noise=1.003,
  )
  return config
