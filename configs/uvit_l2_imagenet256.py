"""U-ViT-L/2 on ImageNet at 256 pixels.

  python main.py --config=configs/uvit_l2_imagenet256.py --workdir=runs/uvit_l2_imagenet256

Published: FID 3.40 with 50 DPM-Solver steps, guidance 0.4 (1.4 elsewhere) and
the original decoder (Bao et al. 2023, appendix, Table 3). See
configs/recipes/uvit.py.
"""

from configs.common import experiment
from configs.recipes import uvit

get_config = experiment(
  uvit.large_latents, "U-ViT-L/2", 256, scale=0.4, num_steps=300_000
)
