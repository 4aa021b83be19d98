"""DiT-XL/4 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_xl4.py --workdir=runs/dit_xl4

Published: FID 43.01 (Peebles and Xie 2023, Table 4). See
configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-XL/4")
