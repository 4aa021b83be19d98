"""EDM on FFHQ at 64 pixels, NCSN++ architecture.

  python main.py --config=configs/edm_ffhq64_ve.py --workdir=runs/edm_ffhq64_ve

Published: FID 2.53 (Karras et al. 2022, as DiffiT's Table 2 quotes it). See
configs/recipes/edm.py.
"""

from configs.common import experiment
from configs.recipes import edm

get_config = experiment(edm.ffhq64, "ve")
