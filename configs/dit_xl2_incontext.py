"""DiT-XL/2 with in-context blocks on ImageNet at 256 pixels.

  python main.py --config=configs/dit_xl2_incontext.py --workdir=runs/dit_xl2_incontext

Published: FID 35.24 (Peebles and Xie 2023, Table 4). See
configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-XL/2", block="in-context")
