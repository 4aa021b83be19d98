"""Experiments of DiT (Peebles and Xie 2023, arXiv v2, and the official code).

Published: FID on 50,000 samples of 250 DDPM steps. Where a config cites Table 4
alone, the FID is that after 400,000 steps, without guidance, with the ft-MSE
decoder.

Hardware: TPU v3 pods; the training time is given for DiT-XL/2 only.

Differs: latents are sampled from stored moments, where the official code
encodes each image again. The authors never published the code of the adaLN,
cross-attention and in-context blocks; they are built from the paper, to the
published numbers of parameters and operations.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.common import base
from configs.recipes import datasets


def imagenet(
  name: str,
  image_size: int = 256,
  num_steps: int = 400_000,
  guidance: float | None = None,
  **fields: Any,
) -> ConfigDict:
  """Builds an experiment on ImageNet's latents.

  Args:
    name: name of the network.
    image_size: in pixels; the network's input has an eighth of it.
    num_steps: 400,000 in the paper's Table 4.
    guidance: scale of guidance on 3 of the 4 channels; None: no guidance.
    **fields: further fields of the network.
  """
  config = base()
  config.model = dict(name=name, image_size=image_size, **fields)
  datasets.imagenet_latents(config, image_size)
  config.process = dict(name="adm")
  config.label_dropout = 0.1
  config.num_steps = num_steps
  config.sampler = dict(name="ddpm", num_steps=250)
  if guidance is not None:
    config.guidance = dict(scale=guidance, channels=3)
  config.evaluation.preset = "dit"
  return config
