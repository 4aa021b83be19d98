"""SiT-S/2 on ImageNet at 256 pixels: flow matching with DiT-S/2.

  python main.py --config=configs/sit_s2.py --workdir=runs/sit_s2

Published: no figure of this size has been confirmed. See
configs/recipes/sit.py.
"""

from configs.common import experiment
from configs.recipes import sit

get_config = experiment(sit.imagenet, "DiT-S/2")
