"""Published networks.

Addresses, licences and scores are those that the pages of the official codes
give; `docs/checkpoints.md` has the details of each family.
"""

from collections.abc import Mapping
from typing import Any

from get_jax.weights.entry import Entry, File
from get_jax.weights.licences import CC_BY_NC, CC_BY_NC_SA, mit, not_stated

_FLOAT32 = 4  # bytes
_DRIVE = "https://drive.google.com/"
_DIT = "https://github.com/facebookresearch/DiT"
_SIT = "https://github.com/willisma/SiT"
_SIT_FILE = (
  "https://www.dl.dropboxusercontent.com/scl/fi/as9oeomcbub47de5g4be0/"
  "SiT-XL-2-256.pt?rlkey=uxzxmpicu46coq3msb17b9ofa&dl=0"
)
_DIFFIT = "https://huggingface.co/nvidia/DiffiT"
_UVIT = "https://github.com/baofff/U-ViT"
_EDM = "https://nvlabs-fi-cdn.nvidia.com/edm/pretrained/"
_GET = "https://github.com/locuslab/get"
_GET_FOLDER = _DRIVE + "drive/folders/1g998S6moSQhybD9poDJHmXP85QF3zz4g"

# Models of 256 and 512 pixels decode latents with these.
_SD, _FT_EMA = "sd-vae", "sd-vae-ft-ema"

# Pixels, parameters, FID and inception score.
_DIT_SIZES = {
  256: (675_129_632, "FID 2.27, IS 278.24 (guidance 1.5)"),
  512: (676_014_368, "FID 3.04, IS 240.82 (guidance 1.5)"),
}
# Bytes beside the parameters: the indices of the relative positions.
_DIFFIT_SIZES = {
  256: (561_330_144, 14_700_000, "FID 1.73, IS 276.49 (guidance 4.4)"),
  512: (563_562_464, 234_900_000, "FID 2.67, IS 252.13 (guidance 1.49)"),
}
# Name; network, config, official name, id of Google Drive, parameters,
# autoencoder, FID.
_UVIT_FILES = {
  "U-ViT-S/2-CIFAR-10": (
    "U-ViT-S/2", "uvit_s2_cifar10", "cifar10_uvit_small",
    "1yoYyuzR_hQYWU0mkTj659tMTnoCWCMv-", 44_255_328, "", "3.11",
  ),
  "U-ViT-S/4-CelebA-64": (
    "U-ViT-S/4", "uvit_s4_celeba64", "celeba64_uvit_small",
    "13YpbRtlqF1HDBNLNRlKxLTbKbKeLE06C", 44_292_228, "", "2.87",
  ),
  "U-ViT-M/4-64": (
    "U-ViT-M/4", "uvit_m4_imagenet64", "imagenet64_uvit_mid",
    "1igVgRY7-A0ZV3XqdNcMGOnIGOxKr9azv", 130_940_292, "", "5.85",
  ),
  "U-ViT-L/4-64": (
    "U-ViT-L/4", "uvit_l4_imagenet64", "imagenet64_uvit_large",
    "19rmun-T7RwkNC1feEPWinIo-1JynpW7J", 286_827_652, "", "4.26",
  ),
  "U-ViT-L/2-256": (
    "U-ViT-L/2", "uvit_l2_imagenet256", "imagenet256_uvit_large",
    "1w7T1hiwKODgkYyMH9Nc9JNUThbxFZgs3", 286_763_172, _SD, "3.40",
  ),
  "U-ViT-H/2-256": (
    "U-ViT-H/2", "uvit_h2_imagenet256", "imagenet256_uvit_huge",
    "13StUdrjaaSXjfqqF7M47BzPyhMAArQ4u", 500_832_016, _FT_EMA, "2.29",
  ),
  "U-ViT-L/4-512": (
    "U-ViT-L/4-512", "uvit_l4_imagenet512", "imagenet512_uvit_large",
    "1mkj4aN2utHMBTWQX9l1nYue9vleL7ZSB", 286_861_524, _SD, "4.67",
  ),
  "U-ViT-H/4-512": (
    "U-ViT-H/4", "uvit_h4_imagenet512", "imagenet512_uvit_huge",
    "1uegr2o7cuKXtf2akWGAN2Vnlrtw5YKQq", 500_942_656, _FT_EMA, "4.05",
  ),
  "U-ViT-S/2-COCO": (
    "U-ViT-S/2-COCO", "uvit_s2_coco", "mscoco_uvit_small",
    "15JsZWRz2byYNU6K093et5e5Xqd4uwA8S", 44_692_644, _SD, "5.95",
  ),
  "U-ViT-S/2-COCO-deep": (
    "U-ViT-S/2-COCO-deep", "uvit_s2deep_coco", "mscoco_uvit_small_deep",
    "1gHRy8sn039Wy-iFL21wH8TiheHK8Ky71", 58_345_636, _SD, "5.48",
  ),
}  # fmt: skip
# Official name; network, config, parameters, FID.
_EDM_FILES: dict[str, tuple[dict[str, Any], str, int, str]] = {
  "edm-cifar10-32x32-cond-vp": (
    dict(name="DDPM++-32", num_classes=10), "edm_cifar10_cond_vp",
    55_735_299, "1.79",
  ),
  "edm-cifar10-32x32-cond-ve": (
    dict(name="NCSN++-32", num_classes=10), "edm_cifar10_cond_ve",
    56_400_771, "1.79 (unverified)",
  ),
  "edm-cifar10-32x32-uncond-vp": (
    dict(name="DDPM++-32", num_classes=0), "edm_cifar10_vp",
    55_733_891, "1.97",
  ),
  "edm-cifar10-32x32-uncond-ve": (
    dict(name="NCSN++-32", num_classes=0), "edm_cifar10_ve",
    56_397_955, "1.98 (unverified)",
  ),
  "edm-ffhq-64x64-uncond-vp": (
    dict(name="DDPM++-64"), "edm_ffhq64_vp", 61_805_571, "2.39",
  ),
  "edm-ffhq-64x64-uncond-ve": (
    dict(name="NCSN++-64"), "edm_ffhq64_ve", 62_761_219, "2.53",
  ),
  "edm-afhqv2-64x64-uncond-vp": (
    dict(name="DDPM++-64"), "edm_afhqv2_vp", 61_805_571, "1.96",
  ),
  "edm-afhqv2-64x64-uncond-ve": (
    dict(name="NCSN++-64"), "edm_afhqv2_ve", 62_761_219, "2.16 (unverified)",
  ),
  "edm-imagenet-64x64-cond-adm": (
    dict(name="ADM-64"), "edm_imagenet64", 295_899_267, "1.36",
  ),
}  # fmt: skip
# Name; network, classes, config, parameters, FID and inception score.
_GET_FILES = {
  "GET-T/2": ("GET-T/2", 0, "get_tiny_cifar10", 8_558_092, "15.23, IS 8.40"),
  "GET-M/2": ("GET-M/2", 0, "get_mini_cifar10", 19_177_740, "10.81, IS 8.77"),
  "GET-S/2": ("GET-S/2", 0, "get_small_cifar10", 37_173_260, "7.99, IS 9.05"),
  "GET-B/2": ("GET-B/2", 0, "get_base_cifar10", 62_207_244, "7.39, IS 9.17"),
  "GET-B+/2": (
    "GET-B+/2", 0, "get_baseplus_cifar10", 83_481_612, "7.21, IS 9.07",
  ),
  "GET-B/2-cond": (
    "GET-B/2", 10, "get_base_cifar10_cond", 62_230_284, "6.23, IS 9.42",
  ),
  "GET-B/2-cond-2M": (
    "GET-B/2", 10, "get_base_cifar10_cond_2m", 62_230_284, "5.66, IS 9.63",
  ),
}  # fmt: skip


def _network(
  name: str,
  file: File,
  model: Mapping[str, Any],
  numbers: int,
  **fields: Any,
) -> Entry:
  """Returns an entry of one file of float32 numbers."""
  return Entry(
    name=name,
    kind="network",
    files=(file,),
    model=model,
    size=_FLOAT32 * numbers,
    **fields,
  )


DIT = tuple(
  _network(
    f"DiT-XL/2-{size}",
    File(
      f"DiT-XL-2-{size}x{size}.pt",
      f"https://dl.fbaipublicfiles.com/DiT/models/DiT-XL-2-{size}x{size}.pt",
    ),
    dict(name="DiT-XL/2", image_size=size),
    numbers,
    page=_DIT,
    licence=CC_BY_NC,
    config="dit_xl2" if size == 256 else "dit_xl2_512",
    autoencoder=_FT_EMA,
    score=score,
  )
  for size, (numbers, score) in _DIT_SIZES.items()
)

# The network of DiT-XL/2, with other parameters.
SIT = (
  _network(
    "SiT-XL/2-256",
    File("SiT-XL-2-256x256.pt", _SIT_FILE),
    dict(name="DiT-XL/2"),
    _DIT_SIZES[256][0],
    page=_SIT,
    licence=mit(_SIT),
    config="sit_xl2",
    autoencoder=_FT_EMA,
    score="FID 2.06, IS 270.27 (guidance 1.5)",
  ),
)

UVIT = tuple(
  _network(
    name,
    File(f"{file}.pth", f"{_DRIVE}uc?export=download&id={identifier}"),
    dict(name=model),
    numbers,
    page=_UVIT,
    licence=mit(_UVIT),
    config=config,
    autoencoder=autoencoder,
    score=f"FID {fid}",
  )
  for name, (
    model,
    config,
    file,
    identifier,
    numbers,
    autoencoder,
    fid,
  ) in _UVIT_FILES.items()
)

DIFFIT = tuple(
  _network(
    f"DiffiT-{size}",
    File(
      f"diffit_{size}.safetensors",
      f"hf://nvidia/DiffiT/diffit_{size}.safetensors",
    ),
    dict(name=f"DiffiT-{size}"),
    numbers + indices // _FLOAT32,
    page=_DIFFIT,
    licence=CC_BY_NC_SA,
    config=f"diffit_imagenet{size}",
    autoencoder=_FT_EMA,
    score=score,
  )
  for size, (numbers, indices, score) in _DIFFIT_SIZES.items()
)

# A training checkpoint: parameters, their average and two moments.
GET = tuple(
  _network(
    name,
    File(f"{name.replace('/', '-')}.pth"),
    dict(name=model, num_classes=num_classes),
    4 * numbers,
    page=_GET_FOLDER,
    licence=not_stated(_GET),
    config=config,
    score=f"FID {score}",
  )
  for name, (model, num_classes, config, numbers, score) in _GET_FILES.items()
)

EDM = tuple(
  _network(
    name,
    File(f"{name}.pkl", f"{_EDM}{name}.pkl"),
    model,
    numbers,
    page=_EDM,
    licence=CC_BY_NC_SA,
    config=config,
    score=f"FID {fid}",
  )
  for name, (model, config, numbers, fid) in _EDM_FILES.items()
)

NETWORKS = (*DIT, *SIT, *UVIT, *DIFFIT, *GET, *EDM)
