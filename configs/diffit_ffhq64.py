"""DiffiT on FFHQ at 64 pixels, unconditional, in pixels.

  python main.py --config=configs/diffit_ffhq64.py --workdir=runs/diffit_ffhq64

Published: FID 2.22 on 50,000 samples of 40 Heun steps, against the training set
(Hatamizadeh et al. 2024, Table 2).

Hardware: 8 A100; time not given.

EDM's recipe for 51.2 million images: the paper says 200,000 iterations, perhaps
a reading of EDM's 200,000 thousand images. Differs: no code was published; the
choices are listed in get_jax/models/diffit_image.py.
"""

from configs.common import experiment
from configs.recipes import datasets, edm


@experiment
def get_config():
  model = dict(name="DiffiT-FFHQ-64")
  images = 200_000 * 256
  config = edm.recipe(model, datasets.ffhq64(), images, 256, 2e-4, augment=0.15)
  config.sampler.num_steps = 40
  config.evaluation.preset = "diffit"
  return config
