"""EDM on AFHQv2 at 64 pixels, NCSN++ architecture.

  python main.py --config=configs/edm_afhqv2_ve.py --workdir=runs/edm_afhqv2_ve

Published: FID 2.16 on 50,000 samples of 40 Heun steps (79 evaluations), against
the training set, the least of three sets (Karras et al. 2022, Table 2;
unverified, the text was not at hand).

Hardware: 8 V100, about 4 days (the authors' README).

"ve" names the architecture; process and loss are EDM's. Differs: records come
epoch by epoch.
"""

from configs.common import experiment
from configs.recipes import datasets, edm


@experiment
def get_config():
  return edm.faces("ve", datasets.afhqv2(), dropout=0.25)
