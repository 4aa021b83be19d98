r"""DiffiT on ImageNet at 512 pixels, in latents.

  python main.py --config=configs/diffit_imagenet512.py \
    --workdir=runs/diffit_imagenet512

Published: FID 2.67, IS 252.13 on 50,000 samples of 250 DDPM steps, guidance
1.49 on 3 of 4 channels, ft-EMA decoder (Hatamizadeh et al. 2024, Table 1 and
the authors' code).

Hardware and time: not given.

Differs: the paper names the rate, the batch and the average's decay; the rest
of the recipe is DiT's, also the number of steps. The published network has 28
blocks, not the 30 of the text.
"""

from configs.common import experiment
from configs.recipes import diffit


@experiment
def get_config():
  config = diffit.imagenet(512)
  config.batch_size = 512
  config.num_steps = 3_000_000
  config.guidance = dict(scale=1.49, channels=3)
  return config
