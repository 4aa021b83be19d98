r"""iMF-XL/2 on ImageNet at 256 pixels, in one step, in latents.

  python main.py --config=configs/improved_mean_flow_xl2.py \
    --workdir=runs/improved_mean_flow_xl2

Published: FID 1.70 and 1.72, IS 282.0 (Geng et al. 2025, Table 2). With 2 steps, guidance 4
from t = 0.36 to 0.64: FID 1.53 and 1.54, IS 292.0. See
configs/recipes/improved_mean_flow.py.
"""

from configs.common import experiment
from configs.recipes import improved_mean_flow

get_config = experiment(
  improved_mean_flow.imagenet, "iMF-XL/2", w=8.0, interval=(0.42, 0.62)
)
