"""SiT-L/2 on ImageNet at 256 pixels: flow matching with DiT-L/2.

  python main.py --config=configs/sit_l2.py --workdir=runs/sit_l2

Published: FID 18.8 after 400,000 steps (Yu et al. 2024). See
configs/recipes/sit.py.
"""

from configs.common import experiment
from configs.recipes import sit

get_config = experiment(sit.imagenet, "DiT-L/2")
