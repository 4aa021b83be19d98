"""Published reference statistics of real images."""

from get_jax.weights.entry import Entry, File
from get_jax.weights.licences import CC_BY_NC_SA, mit, not_stated

_ADM_PAGE = "https://github.com/openai/guided-diffusion"
_ADM = (
  "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/ref_batches/"
  "imagenet/"
)
_EDM = "https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/"
_FOLDERS = "https://drive.google.com/drive/folders/"
_UVIT_FOLDER = _FOLDERS + "1yo-XhqbPue3rp5P57j6QbA5QZx6KybvP"
_GET_FOLDER = _FOLDERS + "1UBdzl6GtNMwNQ5U-4ESlIer43tNjiGJC"

_STATISTICS = 8 * 2048 * 2049  # bytes of mean and covariance, float64
# Pixels; official name, bytes: mostly 10,000 images for precision and recall.
_ADM_FILES = {
  64: ("VIRTUAL_imagenet64_labeled.npz", 10_000 * 64 * 64 * 3),
  256: ("VIRTUAL_imagenet256_labeled.npz", 10_000 * 256 * 256 * 3),
  512: ("VIRTUAL_imagenet512.npz", None),
}
_EDM_FILES = ("cifar10-32x32", "ffhq-64x64", "afhqv2-64x64", "imagenet-64x64")
_UVIT_FILES = (
  "cifar10", "celeba64", "imagenet64", "imagenet256", "imagenet512", "coco",
)  # fmt: skip


def _statistics(name: str, file: File, **fields) -> Entry:
  return Entry(
    name=name, kind="reference", files=(file,), size=_STATISTICS, **fields
  )


REFERENCES = (
  *(
    Entry(
      name=f"adm-imagenet-{size}",
      kind="reference",
      files=(File(file, f"{_ADM}{size}/{file}"),),
      page=_ADM_PAGE,
      licence=mit(_ADM_PAGE),
      size=count,
    )
    for size, (file, count) in _ADM_FILES.items()
  ),
  *(
    _statistics(
      f"edm-{data}",
      File(f"{data}.npz", f"{_EDM}{data}.npz"),
      page=_EDM,
      licence=CC_BY_NC_SA,
    )
    for data in _EDM_FILES
  ),
  *(
    _statistics(
      f"uvit-{data}",
      File(f"uvit-{data}.npz"),
      page=_UVIT_FOLDER,
      licence=mit("https://github.com/baofff/U-ViT"),
    )
    for data in _UVIT_FILES
  ),
  _statistics(
    "get-cifar10-test",
    File("cifar10.test.npz"),
    page=_GET_FOLDER,
    licence=not_stated("https://github.com/locuslab/get"),
  ),
)
