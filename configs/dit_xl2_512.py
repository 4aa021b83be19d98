"""DiT-XL/2 on ImageNet at 512 pixels.

  python main.py --config=configs/dit_xl2_512.py --workdir=runs/dit_xl2_512

Published: FID 3.04 after 3M steps with guidance 1.5 on 3 of 4 channels and the
ft-EMA decoder (Peebles and Xie 2023, Table 3); without guidance 12.03 there and
11.93 in Table 4. See configs/recipes/dit.py.
"""

from configs.common import experiment
from configs.recipes import dit

get_config = experiment(
  dit.imagenet, "DiT-XL/2", image_size=512, num_steps=3_000_000, guidance=1.5
)
