"""SiT-XL/2 on ImageNet at 256 pixels: flow matching with DiT-XL/2.

  python main.py --config=configs/sit_xl2.py --workdir=runs/sit_xl2

Published: FID 2.06 after 7M steps with guidance 1.5 on 3 of 4 channels and the
ft-EMA decoder (Ma et al. 2024; IS 270.27 in the official code's README);
without guidance 8.3, and 17.2 after 400,000 steps (Yu et al. 2024). See
configs/recipes/sit.py.

Hardware: TPU pods.
"""

from configs.common import experiment
from configs.recipes import sit

get_config = experiment(
  sit.imagenet, "DiT-XL/2", num_steps=7_000_000, guidance=1.5
)
