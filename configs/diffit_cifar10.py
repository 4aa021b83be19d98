r"""DiffiT on CIFAR-10, unconditional, in pixels.

  python main.py --config=configs/diffit_cifar10.py \
    --workdir=runs/diffit_cifar10

Published: FID 1.95 on 50,000 samples of 18 Heun steps, against the training set
(Hatamizadeh et al. 2024, Table 2).

Hardware: 8 A100; time not given.

EDM's recipe for 102.4 million images: the paper says 200,000 iterations,
perhaps a reading of EDM's 200,000 thousand images. Differs: no code was
published; the choices are listed in get_jax/models/diffit_image.py.
"""

from configs.common import experiment
from configs.recipes import datasets, edm


@experiment
def get_config():
  model = dict(name="DiffiT-CIFAR-10")
  images = 200_000 * 512
  config = edm.recipe(
    model, datasets.cifar10(), images, 512, 1e-3, augment=0.12
  )
  config.evaluation.preset = "diffit"
  return config
