"""Published parts of generators and evaluators.

These are autoencoders, text encoders and feature extractors.
"""

from get_jax.evaluation.extractors import inception_weights
from get_jax.weights.entry import Entry, File
from get_jax.weights.licences import APACHE, OPEN_RAIL_M, mit

_HUB = "https://huggingface.co/"
_INCEPTION = "https://github.com/mseitzer/pytorch-fid"


def _autoencoder(
  name: str, repository: str, folder: str = "", **fields
) -> Entry:
  files = ("config.json", "diffusion_pytorch_model.safetensors")
  return Entry(
    name=name,
    kind="autoencoder",
    files=tuple(
      File(file, f"hf://{repository}/{folder}{file}") for file in files
    ),
    page=_HUB + repository,
    size=4 * 83_653_863,
    **fields,
  )


PARTS = (
  _autoencoder(
    "sd-vae",
    "CompVis/stable-diffusion-v1-4",
    "vae/",
    licence=OPEN_RAIL_M,
  ),
  *(
    _autoencoder(
      name,
      f"stabilityai/{name}",
      licence=mit(f"{_HUB}stabilityai/{name}"),
    )
    for name in ("sd-vae-ft-mse", "sd-vae-ft-ema")
  ),
  Entry(
    name="clip-vit-large-patch14",
    kind="text encoder",
    files=tuple(
      File(file, f"hf://openai/clip-vit-large-patch14/{file}")
      for file in (
        "config.json",
        "vocab.json",
        "merges.txt",
        "model.safetensors",
      )
    ),
    page=_HUB + "openai/clip-vit-large-patch14",
    licence=mit("https://github.com/openai/CLIP"),
    size=1_710_000_000,
  ),
  Entry(
    name="inception",
    kind="extractor",
    files=(
      File(
        inception_weights.FILE_NAME,
        inception_weights.URL,
        # The name of the file carries the first digits of its hash.
        sha256="6726825d",
      ),
    ),
    page=_INCEPTION,
    licence=APACHE,
    size=4 * 23_885_392,
  ),
)
