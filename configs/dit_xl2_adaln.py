"""DiT-XL/2 with adaLN blocks on ImageNet at 256 pixels.

  python main.py --config=configs/dit_xl2_adaln.py --workdir=runs/dit_xl2_adaln

Published: FID 25.21 after 400,000 steps, on 50,000 samples of 250 DDPM steps
without guidance, ft-MSE decoder (Peebles and Xie 2023, arXiv v2, Table 4).

Hardware: TPU v3 pods; time not given.

Differs: the authors never published this block's code; it is built from the
paper, to the published parameters and operations. Latents are drawn from stored
moments.
"""

from configs.common import experiment
from configs.recipes import dit


@experiment
def get_config():
  return dit.imagenet("DiT-XL/2", block="adaLN")
