"""SiT-B/2 on ImageNet at 256 pixels: flow matching with DiT-B/2.

  python main.py --config=configs/sit_b2.py --workdir=runs/sit_b2

Published: FID 33.0 after 400,000 steps (Yu et al. 2024). See
configs/recipes/sit.py.
"""

from configs.common import experiment
from configs.recipes import sit

get_config = experiment(sit.imagenet, "DiT-B/2")
