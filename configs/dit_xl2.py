"""DiT-XL/2 on ImageNet at 256 pixels.

  python main.py --config=configs/dit_xl2.py --workdir=runs/dit_xl2

Published: FID 2.27 after 7M steps with guidance 1.5 on 3 of 4 channels and the
ft-EMA decoder (Peebles and Xie 2023, Table 2); 9.62 without guidance; 19.47
without guidance after 400,000 steps (Table 4). See configs/recipes/dit.py.

Hardware: TPU v3-256 pod, 5.7 steps a second.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(
  dit.imagenet, "DiT-XL/2", num_steps=7_000_000, guidance=1.5
)
