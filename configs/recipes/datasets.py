"""Where the experiments look for their data, from where they are started.

CIFAR-10 and ImageNet are prepared by `python -m get_jax.data.prepare cifar10`,
or are folders or zips of images by class: `--config.data.path=cifar10.zip`; in
a distillation `--config.teacher.data.path`. Zips are
those of EDM's dataset tool; `data/celeba64` holds CelebA's faces, cropped and
scaled as U-ViT's code does. Latents are made beforehand, from TFDS's ImageNet:

  python main.py --config=configs/dit_b4.py --workdir=runs/latents \
    --mode=latents --config.autoencoder.weights=sd-vae-ft-ema
"""


def cifar10(flip: bool = False) -> dict:
  """CIFAR-10, 50,000 images of 32 pixels, ten classes."""
  return dict(
    name="dataset",
    dataset="cifar10",
    split="train",
    path="",
    image_size=32,
    flip=flip,
  )


def celeba64() -> dict:
  """CelebA, faces cropped and scaled to 64 pixels, mirrored half the time."""
  return dict(
    name="images",
    path="data/celeba64",
    image_size=64,
    labels=False,
    flip=True,
  )


def ffhq64() -> dict:
  """FFHQ at 64 pixels, as EDM's tool packs it."""
  return dict(name="edm_zip", path="data/ffhq-64x64.zip")


def afhqv2() -> dict:
  """AFHQv2 at 64 pixels, as EDM's tool packs it."""
  return dict(name="edm_zip", path="data/afhqv2-64x64.zip")


def imagenet64(flip: bool = False) -> dict:
  """ImageNet at 64 pixels."""
  return dict(name="edm_zip", path="data/imagenet-64x64.zip", flip=flip)


def coco_latents(config) -> None:
  """MS-COCO 2014 at 256 pixels in latents, with CLIP's view of its captions."""
  config.data = dict(
    name="captioned_latents",
    path="data/coco256_latents",
    captions="data/coco256_captions",
    scaling_factor=0.23010,
  )
  config.autoencoder.name = "SD"
  config.latents = dict(
    data=dict(
      name="images", path="data/coco/train2014", image_size=256, labels=False
    ),
    captions=dict(
      file="data/coco/annotations/captions_train2014.json",
      encoder="",
      tokenizer="",
    ),
    dtype="float16",
    flips=False,
    shard_size=4096,
    batch_size=64,
  )


def imagenet_latents(config, image_size: int) -> None:
  """ImageNet in the latents of Stable Diffusion's autoencoder."""
  config.data = dict(name="latents", path=f"data/imagenet{image_size}_latents")
  config.autoencoder.name = "SD"
  config.latents = dict(
    data=dict(
      name="dataset",
      dataset="imagenet2012",
      split="train",
      path="",
      image_size=image_size,
    ),
    dtype="float16",
    flips=True,
    shard_size=4096,
    batch_size=64,
  )
