"""DiT-XL/2 on ImageNet at 256 pixels, in the latents of SD's autoencoder.

  python main.py --config=configs/dit_xl2.py --workdir=runs/dit_xl2

Published: FID 2.27 on 50,000 samples after 7M steps, 250 DDPM steps, guidance
1.5 on 3 channels, ft-EMA decoder (Peebles and Xie 2023, Table 2); 5.7 steps a
second on a v3-256 TPU pod. The official code's recipe.
"""

from configs.common import base


def get_config():
  config = base()
  config.model = dict(name="DiT-XL/2", image_size=256)
  config.data = dict(
    name="synthetic", image_size=32, channels=4, num_classes=1000
  )
  config.process = dict(name="adm", schedule="linear")
  config.label_dropout = 0.1
  config.num_steps = 7_000_000
  config.sampler = dict(name="ddpm", steps=250)
  config.guidance = dict(scale=1.5, channels=3)
  return config
