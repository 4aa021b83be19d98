"""EDM on AFHQv2 at 64 pixels, NCSN++ architecture.

  python main.py --config=configs/edm_afhqv2_ve.py --workdir=runs/edm_afhqv2_ve

Published: FID 2.16 (Karras et al. 2022, Table 2; unverified, the text was not
at hand). See configs/recipes/edm.py.
"""

from configs.common import experiment
from configs.recipes import edm

get_config = experiment(edm.afhqv2, "ve")
