"""DiT-XL/2 with adaLN blocks on ImageNet at 256 pixels.

  python main.py --config=configs/dit_xl2_adaln.py --workdir=runs/dit_xl2_adaln

Published: FID 25.21 (Peebles and Xie 2023, Table 4). See
configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-XL/2", block="adaLN")
