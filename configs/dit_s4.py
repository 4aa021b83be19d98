"""DiT-S/4 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_s4.py --workdir=runs/dit_s4

Published: FID 100.41 (Peebles and Xie 2023, Table 4). See
configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-S/4")
