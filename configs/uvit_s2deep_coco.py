"""U-ViT-S/2 (deep) on MS-COCO at 256 pixels, from captions.

  python main.py --config=configs/uvit_s2deep_coco.py --workdir=runs/uvit_s2deep_coco

Published: FID 5.48 with 50 DPM-Solver++ steps, guidance 1 (2 elsewhere) and the
original decoder (Bao et al. 2023, README of the official code). See
configs/recipes/uvit.py.
"""

from configs.common import experiment
from configs.recipes import uvit

get_config = experiment(uvit.coco, "U-ViT-S/2-COCO-deep")
