r"""iMF-L/2 on ImageNet at 256 pixels, in one step, in latents.

  python main.py --config=configs/improved_mean_flow_l2.py \
    --workdir=runs/improved_mean_flow_l2

Published: FID 1.85 and 1.86, IS 278.6 (Geng et al. 2025, Table 2). See
configs/recipes/improved_mean_flow.py.
"""

from configs.common import experiment
from configs.recipes import improved_mean_flow

get_config = experiment(
  improved_mean_flow.imagenet, "iMF-L/2", w=10.5, interval=(0.4, 0.6)
)
