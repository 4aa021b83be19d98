"""DiT-L/2 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_l2.py --workdir=runs/dit_l2

Published: FID 23.33 (Peebles and Xie 2023, Table 4). See
configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-L/2")
