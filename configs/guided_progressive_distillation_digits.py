r"""Guided distillation, second stage, on handwritten digits (8x8 pixels).

  python main.py --config=configs/guided_progressive_distillation_digits.py \
    --workdir=runs/guided_progressive_distillation_digits

Trains the network of guidance_distillation_digits.py first, and before it its
teacher, all in the same workdir; then distils it from 64 steps to one. The
guidance scale stays an input: --config.sampler.w=3.
"""

from ml_collections import ConfigDict

from configs import (
  guidance_distillation_digits,
  progressive_distillation_digits,
)
from configs.common import experiment
from configs.recipes import digits


@experiment
def get_config() -> ConfigDict:
  config = progressive_distillation_digits.get_config()
  config.teacher = guidance_distillation_digits.get_config()
  config.model = digits.denoiser(null_class=True, scalars=("w",))
  config.progressive_distillation.w_range = (1.0, 4.0)
  config.sampler.w = 2.0
  return config
