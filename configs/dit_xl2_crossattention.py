"""DiT-XL/2 with cross-attention blocks on ImageNet at 256 pixels.

  python main.py --config=configs/dit_xl2_crossattention.py --workdir=runs/dit_xl2_crossattention

Published: FID 26.14 (Peebles and Xie 2023, Table 4). See
configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-XL/2", block="cross-attention")
