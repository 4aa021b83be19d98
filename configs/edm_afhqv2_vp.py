"""EDM on AFHQv2 at 64 pixels, DDPM++ architecture.

  python main.py --config=configs/edm_afhqv2_vp.py --workdir=runs/edm_afhqv2_vp

Published: FID 1.96 (Karras et al. 2022, as the authors' repository quotes it).
See configs/recipes/edm.py.
"""

from configs.common import experiment
from configs.recipes import edm

get_config = experiment(edm.afhqv2, "vp")
