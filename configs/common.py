"""What every experiment starts from; each file says what it changes."""

from ml_collections import ConfigDict


def base() -> ConfigDict:
  """All keys of an experiment with the plainest value of each."""
  return ConfigDict(
    dict(
      seed=0,
      task="denoising",
      # `name` and fields of get_jax.models.create_model.
      model=ConfigDict(),
      # `name` and settings of get_jax.data.create_source.
      data=ConfigDict(),
      # `name` and fields of get_jax.diffusion.create_process.
      process=ConfigDict(),
      label_dropout=0.0,
      batch_size=256,
      num_steps=400_000,
      optimizer=dict(
        learning_rate=1e-4,
        schedule="constant",
        warmup_steps=0,
        b1=0.9,
        b2=0.999,
        eps=1e-8,
        weight_decay=0.0,
        clip_norm=0.0,
      ),
      ema=dict(decay=0.9999),
      # Devices along each axis; -1: the rest.
      mesh=dict(data=-1, fsdp=1, tensor=1),
      log_every=100,
      checkpoint_every=5_000,
      keep_checkpoints=2,
      preview_every=0,
      # `name` and fields of get_jax.diffusion.create_sampler.
      sampler=ConfigDict(),
      guidance=dict(scale=1.0),
      sampling=dict(count=16, batch_size=256, seed=0),
      evaluation=dict(extractor="", count=50_000, seed=1),
    )
  )
