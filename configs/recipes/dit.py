"""What all experiments of DiT share (Peebles and Xie 2023, official code)."""

from configs.common import base
from configs.recipes import datasets


def imagenet(name: str, image_size: int = 256, **fields):
  """400,000 steps without guidance: a point of the paper's Table 3.

  Args:
    name: of the network.
    image_size: in pixels; the network sees latents an eighth of it.
    **fields: further fields of the network.
  """
  config = base()
  config.model = dict(name=name, image_size=image_size, **fields)
  datasets.imagenet_latents(config, image_size)
  config.process = dict(name="adm")
  config.label_dropout = 0.1
  config.sampler = dict(name="ddpm", num_steps=250)
  config.evaluation.preset = "dit"
  return config
