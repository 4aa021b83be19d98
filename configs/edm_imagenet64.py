"""EDM on ImageNet at 64 pixels, ADM's architecture.

  python main.py --config=configs/edm_imagenet64.py --workdir=runs/edm_imagenet64

Published: FID 1.36 with 256 stochastic Heun steps (511 evaluations) (Karras et
al. 2022, abstract). See configs/recipes/edm.py.

Differs: float32 by default, where the official code trains in float16;
--config.model.dtype=bfloat16 is the nearest here, with the range of float32 and
three bits less than float16. The official code multiplies the loss by 100 and
never divides by it; under Adam this equals an eps of 1e-8 / 100, which is the
value here.
"""

from configs.common import experiment
from configs.recipes import edm

get_config = experiment(edm.imagenet64)
