r"""iMF-B/2 on ImageNet at 256 pixels, in one step, in latents.

  python main.py --config=configs/improved_mean_flow_b2.py \
    --workdir=runs/improved_mean_flow_b2

Published: FID 3.37 and 3.39, IS 256.0 (Geng et al. 2025, Table 2). See
configs/recipes/improved_mean_flow.py.
"""

from configs.common import experiment
from configs.recipes import improved_mean_flow

get_config = experiment(
  improved_mean_flow.imagenet, "iMF-B/2", w=8.0, interval=(0.4, 0.65)
)
