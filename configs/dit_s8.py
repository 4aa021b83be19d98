"""DiT-S/8 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_s8.py --workdir=runs/dit_s8

Published: FID 153.60 (Peebles and Xie 2023, Table 4). Others who trained the
official code report about 167. See configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-S/8")
