"""DiT-S/2 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_s2.py --workdir=runs/dit_s2

Published: FID 68.40 (Peebles and Xie 2023, Table 4). Others who trained the
official code report about 79.6. See configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-S/2")
