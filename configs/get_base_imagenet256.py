r"""GET-Base distilled from a guided DiT-XL/2 on ImageNet, in latents.

  python main.py --config=configs/get_base_imagenet256.py \
    --workdir=runs/get_base_imagenet256 \
    --config.autoencoder.weights=sd-vae-ft-ema

Published: nothing, this experiment is our own. The teacher's FID is 2.27 with
250 DDPM steps and guidance 1.5 (Peebles and Xie 2023); a student that learns
from L1 distances will be well behind it.

Hardware and time: not measured. A million pairs cost 50 guided evaluations of
DiT-XL/2 each, about 12 EFLOPs of multiply-adds, and take 8.2 GB.

The teacher is trained for 7M steps unless --config.pairs.teacher_workdir names
one, such as the official weights converted with configs/dit_xl2.py. It samples
with 50 steps of DDIM, which maps noise to latents deterministically, and guides
3 of 4 channels with 1.5; 4.0 gives clearer and less diverse images
(--config.teacher.guidance.scale, and .channels=4 for all channels). GET-B has
as many tokens as on CIFAR-10.

Differs from the paper's recipe (configs/recipes/get.py) in teacher, data and
classes only.
"""

from ml_collections import ConfigDict

from configs import dit_xl2
from configs.common import experiment
from configs.recipes import get


@experiment
def get_config() -> ConfigDict:
  teacher = dit_xl2.get_config()
  teacher.sampler = dict(name="ddim", num_steps=50)
  latents = dict(image_size=256, downsample=8, in_channels=4)
  model = dict(name="GET-B/2", **latents, num_classes=1000)
  config = get.recipe(teacher, model, pairs_dtype="float16")
  config.autoencoder.name = "SD"
  config.evaluation.preset = "dit"
  return config
