"""DiT-B/8 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_b8.py --workdir=runs/dit_b8

Published: FID 122.74 (Peebles and Xie 2023, Table 4). See
configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-B/8")
