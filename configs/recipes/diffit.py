"""What DiffiT's experiments in latents share (Hatamizadeh et al. 2024).

Its training code is not public. What the paper leaves out is DiT's: AdamW
without decay, a constant rate, the learned variance, labels dropped one time
in ten.
"""

from configs.recipes import dit


def imagenet(image_size: int):
  """The network and process; the paper's rates and batches come on top."""
  config = dit.imagenet(f"DiffiT-{image_size}", image_size)
  config.evaluation.preset = "diffit"
  return config
