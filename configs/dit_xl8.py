"""DiT-XL/8 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_xl8.py --workdir=runs/dit_xl8

Published: FID 106.41 (Peebles and Xie 2023, Table 4). See
configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-XL/8")
