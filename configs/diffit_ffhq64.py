"""DiffiT on FFHQ at 64 pixels, unconditional, in pixels.

  python main.py --config=configs/diffit_ffhq64.py --workdir=runs/diffit_ffhq64

Published: FID 2.22 (Hatamizadeh et al. 2024, Table 2). See
configs/recipes/diffit.py.

Trains on 51.2 million images.
"""

from configs.common import experiment
from configs.recipes import diffit

get_config = experiment(diffit.ffhq64)
