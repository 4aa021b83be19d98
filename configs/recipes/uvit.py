"""What all experiments of U-ViT share (Bao et al. 2023, official configs)."""

from configs.common import base
from configs.recipes import datasets


def recipe(
  name: str, data: dict | None = None, b1: float = 0.99, b2: float = 0.99
):
  """AdamW with decay on every parameter and a linear warm-up.

  Args:
    name: of the network.
    data: section of the config, or None to leave it empty.
    b1: decay of the gradient's average.
    b2: decay of the squared gradient's average.
  """
  config = base()
  config.model = dict(name=name)
  config.data = data or {}
  config.optimizer.learning_rate = 2e-4
  config.optimizer.b1, config.optimizer.b2 = b1, b2
  config.optimizer.weight_decay = 0.03
  config.optimizer.warmup_steps = 5_000
  config.batch_size = 1024
  config.num_steps = 500_000
  config.evaluation.preset = "uvit"
  return config


def pixels(name: str, data: dict | None = None, **betas):
  """The continuous VP process, Euler-Maruyama with 1,000 steps."""
  config = recipe(name, data, **betas)
  config.process = dict(name="vp")
  config.sampler = dict(name="euler_maruyama", num_steps=1000)
  return config


def continuous(name: str, data: dict | None = None):
  """The continuous VP process, DPM-Solver with 50 steps."""
  config = pixels(name, data)
  config.sampler = dict(name="dpm_solver", num_steps=50)
  return config


def discrete(name: str):
  """Stable Diffusion's process, DPM-Solver++ with 50 steps."""
  config = recipe(name)
  config.process = dict(name="stable_diffusion")
  config.sampler = dict(name="dpm_solver++", num_steps=50)
  return config


def coco(name: str):
  """MS-COCO in latents, told its captions; a fourth of the others' batch."""
  config = discrete(name)
  datasets.coco_latents(config)
  config.optimizer.b1 = config.optimizer.b2 = 0.9
  config.batch_size = 256
  config.num_steps = 1_000_000
  guide(config, label_dropout=0.1, scale=1.0)
  # One caption of each image of the validation set.
  config.sampling.captions = "data/coco256_val_captions"
  config.evaluation.count = 30_000
  return config


def guide(config, label_dropout: float, scale: float) -> None:
  """Classifier-free guidance in the paper's terms, where 0 means none."""
  config.label_dropout = label_dropout
  config.guidance = dict(scale=scale, convention="u-vit")
