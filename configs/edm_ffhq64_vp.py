"""EDM on FFHQ at 64 pixels, DDPM++ architecture.

  python main.py --config=configs/edm_ffhq64_vp.py --workdir=runs/edm_ffhq64_vp

Published: FID 2.39 on 50,000 samples of 40 Heun steps (79 evaluations), against
the training set, the least of three sets (Karras et al. 2022, as DiffiT's Table
2 quotes it).

Hardware: 8 V100, about 4 days (the authors' README).

"vp" names the architecture; process and loss are EDM's. Differs: records come
epoch by epoch.
"""

from configs.common import experiment
from configs.recipes import datasets, edm


@experiment
def get_config():
  return edm.faces("vp", datasets.ffhq64(), dropout=0.05)
