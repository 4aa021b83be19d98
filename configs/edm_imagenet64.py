r"""EDM on ImageNet at 64 pixels, ADM's architecture.

  python main.py --config=configs/edm_imagenet64.py \
    --workdir=runs/edm_imagenet64

Published: FID 1.36 on 50,000 samples of 256 stochastic Heun steps (511
evaluations), the least of three sets (Karras et al. 2022, Table 3).

Hardware: 32 A100, about 13 days (the authors' README).

Differs: float32, where the official code trains in float16 with the loss times
100, which Adam does not feel; records come epoch by epoch.
"""

from configs.common import experiment
from configs.recipes import datasets, edm


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
  config.sampler = dict(
    name="heun",
    num_steps=256,
    s_churn=40.0,
    s_min=0.05,
    s_max=50.0,
    s_noise=1.003,
  )
  return config
