r"""Guided distillation, first stage, on handwritten digits (8x8 pixels).

  python main.py --config=configs/guidance_distillation_digits.py \
    --workdir=runs/guidance_distillation_digits

Trains a denoiser first, in the same workdir. A copy of it then learns what
guidance makes of the denoiser, for all scales from 1 to 4, and generates with
one evaluation a step: --config.sampler.w=3.
"""

from configs.common import experiment
from configs.recipes import digits

get_config = experiment(digits.guidance_distillation)
