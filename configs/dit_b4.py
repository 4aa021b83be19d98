"""DiT-B/4 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_b4.py --workdir=runs/dit_b4

Published: FID 68.38 (Peebles and Xie 2023, Table 4). The authors' PyTorch code
gives 68.9. See configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(dit.imagenet, "DiT-B/4")
