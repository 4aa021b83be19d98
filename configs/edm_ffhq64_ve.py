"""EDM on FFHQ at 64 pixels, NCSN++ architecture.

  python main.py --config=configs/edm_ffhq64_ve.py --workdir=runs/edm_ffhq64_ve

Published: FID 2.53 on 50,000 samples of 40 Heun steps (79 evaluations), against
the training set, the least of three sets (Karras et al. 2022, as DiffiT's Table
2 quotes it).

Hardware: 8 V100, about 4 days (the authors' README).

"ve" names the architecture; process and loss are EDM's. Differs: records come
epoch by epoch.
"""

from configs.common import experiment
from configs.recipes import datasets, edm


@experiment
def get_config():
  return edm.faces("ve", datasets.ffhq64(), dropout=0.05)
