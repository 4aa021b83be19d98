r"""MF-L/2 on ImageNet at 256 pixels, in one step, in latents.

  python main.py --config=configs/mean_flow_l2.py \
    --workdir=runs/mean_flow_l2

Published: FID 3.84 (Geng et al. 2025, Table 2). See
configs/recipes/mean_flow.py.
"""

from configs.common import experiment
from configs.recipes import mean_flow

get_config = experiment(
  mean_flow.imagenet,
  "MF-L/2",
  omega=0.2,
  kappa=0.92,
  interval=(0.0, 0.8),
)
