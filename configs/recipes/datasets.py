r"""Sections `data` and `latents` of the experiments.

Paths are relative to the folder in which `main.py` is started.

CIFAR-10 and ImageNet are prepared by `python -m get_jax.data.prepare cifar10`,
or are folders or zips of images by class: `--config.data.path=cifar10.zip`; in
a distillation `--config.teacher.data.path`. The zips at 64 pixels are those of
EDM's dataset tool. `data/celeba64` holds CelebA's faces, cropped and scaled as
U-ViT's code does it. Latents are encoded before the training, from TFDS's
ImageNet:

  python main.py --config=configs/dit_b4.py --workdir=runs/latents \
    --mode=latents --config.autoencoder.weights=sd-vae-ft-ema
"""

from typing import Any

from ml_collections import ConfigDict

# ADM, DiT, U-ViT and DiffiT read ImageNet and MS-COCO with Pillow's
# `convert("RGB")`: images stay as they are stored, whatever their EXIF data
# says, and transparency is dropped. Other data are read with the defaults of
# `get_jax.data`: upright, transparency over white.
AS_ORIGINALS: dict[str, Any] = dict(orientation="ignore", background=())


def cifar10(flip: bool = False) -> dict[str, Any]:
  """Returns CIFAR-10: 50,000 images of 32 pixels, ten classes."""
  return dict(
    name="dataset",
    dataset="cifar10",
    split="train",
    path="",
    image_size=32,
    flip=flip,
  )


def celeba64() -> dict[str, Any]:
  """Returns CelebA: faces of 64 pixels, mirrored with probability 1/2."""
  return dict(
    name="images",
    path="data/celeba64",
    image_size=64,
    labels=False,
    flip=True,
  )


def ffhq64() -> dict[str, Any]:
  """Returns FFHQ at 64 pixels, in a zip of EDM's dataset tool."""
  return dict(name="edm_zip", path="data/ffhq-64x64.zip")


def afhqv2() -> dict[str, Any]:
  """Returns AFHQv2 at 64 pixels, in a zip of EDM's dataset tool."""
  return dict(name="edm_zip", path="data/afhqv2-64x64.zip")


def imagenet64(flip: bool = False) -> dict[str, Any]:
  """Returns ImageNet at 64 pixels, in a zip of EDM's dataset tool.

  The tool ignores EXIF data and stores PNG files without any.
  """
  return dict(name="edm_zip", path="data/imagenet-64x64.zip", flip=flip)


def coco_latents(config: ConfigDict) -> None:
  """Sets latents of MS-COCO 2014 at 256 pixels, with CLIP's text features."""
  config.data = dict(
    name="captioned_latents",
    path="data/coco256_latents",
    captions="data/coco256_captions",
    scaling_factor=0.23010,
  )
  config.autoencoder.name = "SD"
  images = dict(
    name="images",
    path="data/coco/train2014",
    image_size=256,
    labels=False,
    **AS_ORIGINALS,
  )
  captions = dict(
    file="data/coco/annotations/captions_train2014.json",
    encoder="",
    tokenizer="",
  )
  config.latents = _latents(images, False, captions=captions)


def imagenet_latents(config: ConfigDict, image_size: int) -> None:
  """Sets latents of ImageNet, of Stable Diffusion's autoencoder."""
  config.data = dict(name="latents", path=f"data/imagenet{image_size}_latents")
  config.autoencoder.name = "SD"
  images = dict(
    name="dataset",
    dataset="imagenet2012",
    split="train",
    path="",
    image_size=image_size,
    **AS_ORIGINALS,
  )
  config.latents = _latents(images, True)


def _latents(data: dict, flips: bool, **sections: Any) -> dict[str, Any]:
  return dict(
    data=data,
    **sections,
    dtype="float16",
    flips=flips,
    shard_size=4096,
    batch_size=64,
  )
