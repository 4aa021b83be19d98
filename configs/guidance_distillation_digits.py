r"""Guided distillation, first stage, on handwritten digits (8x8 pixels).

  python main.py --config=configs/guidance_distillation_digits.py \
    --workdir=runs/guidance_distillation_digits

Trains a denoiser first, in the same workdir. A copy of it then learns what
guidance makes of the denoiser, for all scales from 1 to 4, and generates with
one evaluation a step: --config.sampler.w=3.
"""

from ml_collections import ConfigDict

from configs.common import base, experiment
from configs.recipes import digits, digits_teachers


@experiment
def get_config() -> ConfigDict:
  config = base()
  config.task = "guidance_distillation"
  config.teacher = digits_teachers.guided_teacher()
  config.data = dict(name="digits")
  config.model = digits.denoiser(null_class=True, scalars=("w",))
  config.process = config.teacher.process.copy_and_resolve_references()
  config.guidance_distillation = dict(w_range=(1.0, 4.0))
  config.sampler = dict(name="euler_grid", num_steps=64, w=2.0)
  digits.train_and_evaluate(config, num_steps=1_000, learning_rate=1e-3)
  return config
