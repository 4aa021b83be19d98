"""EDM on FFHQ at 64 pixels, DDPM++ architecture.

  python main.py --config=configs/edm_ffhq64_vp.py --workdir=runs/edm_ffhq64_vp

Published: FID 2.39 (Karras et al. 2022, as DiffiT's Table 2 quotes it). See
configs/recipes/edm.py.
"""

from configs.common import experiment
from configs.recipes import edm

get_config = experiment(edm.ffhq64, "vp")
