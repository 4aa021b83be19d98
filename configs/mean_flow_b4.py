r"""MF-B/4 on ImageNet at 256 pixels, in one step, in latents.

  python main.py --config=configs/mean_flow_b4.py \
    --workdir=runs/mean_flow_b4

Published: FID 11.4 with guidance 2 (omega 1, kappa 0.5; the official code, 240
epochs); its ablations are 13.74 with omega 2 and kappa 0, and 48.16 without
guidance. See configs/recipes/mean_flow.py.
"""

from configs.common import experiment
from configs.recipes import mean_flow

get_config = experiment(mean_flow.imagenet, "MF-B/4")
