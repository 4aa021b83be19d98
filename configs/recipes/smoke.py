"""Trial runs: `config.py:smoke` takes under a minute on a laptop.

A trial run has the same network with one or two narrow blocks, or a U-Net of
one level, and inputs of 8x8, the same process, sampler, guidance and optimiser
with few steps, and synthetic data.
"""

from ml_collections import ConfigDict

from get_jax.models import create_model

SIZE = 8
CLASSES = 10
STEPS = 10

_BLOCKS = dict(input_size=SIZE, patch_size=4, hidden_size=32, num_heads=2)
_UNET = dict(
  input_size=SIZE,
  model_channels=16,
  channel_mult=(1,),
  num_blocks=1,
  attn_resolutions=(SIZE,),
)
NETWORKS = {
  "DiT": dict(**_BLOCKS, depth=1),
  "DiffiT": dict(**_BLOCKS, depth=1),
  "MeanFlowDiT": dict(**_BLOCKS, depth=1),
  "IMF": dict(**_BLOCKS, depth=1, head_depth=1),
  "UViT": dict(**_BLOCKS, depth=2),
  "ViT": dict(**_BLOCKS, depth=1),
  "GET": dict(
    **_BLOCKS,
    injection_depth=1,
    equilibrium_depth=1,
    equilibrium_mlp_ratio=4.0,
  ),
  "ImageDiffiT": dict(
    input_size=SIZE, widths=(16, 32), depths=(1, 1), window=4, head_dim=8
  ),
  "SongUNet": _UNET,
  "DhariwalUNet": dict(**_UNET, channels_per_head=8),
}


def shrink(config: ConfigDict) -> None:
  """Turns an experiment, and its teacher if it has one, into a trial run."""
  model = create_model(**config.model)
  config.model.update(NETWORKS[type(model).__name__])
  classes = CLASSES if model.num_classes else 0
  config.model.num_classes = classes
  config.batch_size = 8
  config.num_steps = STEPS
  config.optimizer.warmup_steps = min(config.optimizer.warmup_steps, 2.0)
  config.log_every = STEPS // 2
  config.checkpoint_every = STEPS
  config.preview_every = 0
  config.sampling.count = config.sampling.batch_size = 8
  config.evaluation.count = 64
  if "report" in config:
    config.report.iterations = (1, 2)
  config.init_from = ""
  if "teacher" in config:
    shrink(config.teacher)
  if config.task == "distillation":
    config.pairs.count, config.pairs.shard_size = 32, 16
    config.pairs.directory = config.pairs.teacher_workdir = ""
    config.distillation.iterations = config.sampling.iterations = 2
  else:
    config.sampler.num_steps = min(config.sampler.num_steps, 4)
    config.data = dict(
      name="synthetic",
      image_size=SIZE,
      channels=model.in_channels,
      num_classes=classes,
      size=64,
    )
    if "captions" in config.sampling:
      config.sampling.captions = ""
      config.data.text = (model.context_tokens, model.context_features)
