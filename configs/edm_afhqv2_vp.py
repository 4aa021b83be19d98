"""EDM on AFHQv2 at 64 pixels, DDPM++ architecture.

  python main.py --config=configs/edm_afhqv2_vp.py --workdir=runs/edm_afhqv2_vp

Published: FID 1.96 on 50,000 samples of 40 Heun steps (79 evaluations), against
the training set, the least of three sets (Karras et al. 2022, as the authors'
repository quotes it).

Hardware: 8 V100, about 4 days (the authors' README).

"vp" names the architecture; process and loss are EDM's. Differs: records come
epoch by epoch.
"""

from configs.common import experiment
from configs.recipes import datasets, edm


@experiment
def get_config():
  return edm.faces("vp", datasets.afhqv2(), dropout=0.25)
