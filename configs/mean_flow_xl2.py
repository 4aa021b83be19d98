r"""MF-XL/2 on ImageNet at 256 pixels, in one step, in latents.

  python main.py --config=configs/mean_flow_xl2.py \
    --workdir=runs/mean_flow_xl2

Published: FID 3.43, and 2.93 with 2 steps (Geng et al. 2025, Table 2). See
configs/recipes/mean_flow.py.
"""

from configs.common import experiment
from configs.recipes import mean_flow

get_config = experiment(
  mean_flow.imagenet,
  "MF-XL/2",
  omega=0.2,
  kappa=0.92,
  interval=(0.0, 0.75),
)
