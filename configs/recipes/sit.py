"""Experiments of SiT (Ma et al. 2024, arXiv 2401.08740, and the official code).

The networks are those of DiT, trained by flow matching: linear path, velocity
prediction, uniform t. Half of the output channels are not used, as in the
official code.

Published: FID on 50,000 samples of 250 steps of the SDE. The paper's abstract
has 2.06 for SiT-XL/2; the figures without guidance are those that Yu et al.
(REPA, 2024) report for the SiT models.

Hardware: TPU pods.

Differs: latents are sampled from stored moments, where the official code
encodes each image again.
"""

from ml_collections import ConfigDict

from configs.recipes import dit


def imagenet(
  name: str,
  image_size: int = 256,
  num_steps: int = 400_000,
  guidance: float | None = None,
) -> ConfigDict:
  """Builds an experiment on ImageNet's latents.

  Args:
    name: name of the DiT.
    image_size: in pixels; the network's input has an eighth of it.
    num_steps: training steps.
    guidance: scale of guidance on 3 of the 4 channels; None: no guidance.
  """
  config = dit.imagenet(name, image_size, num_steps, guidance)
  config.process = dict(name="flow_matching", path="linear")
  config.sampler = dict(name="flow_sde", num_steps=250)
  return config
