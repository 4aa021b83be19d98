"""What is known of published weights: files, addresses, licence, score."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal[
  "network", "autoencoder", "text encoder", "extractor", "reference"
]


@dataclasses.dataclass(frozen=True)
class Licence:
  """Terms under which weights are published.

  Attributes:
    name: such as "CC BY-NC 4.0".
    url: address of the text, or of the page that states the licence.
    commercial: whether commercial use is allowed. If it is not, the weights are
      used only after the licence was accepted.
  """

  name: str
  url: str
  commercial: bool = True


@dataclasses.dataclass(frozen=True)
class File:
  """A file of published weights.

  Attributes:
    name: name of the file in the cache.
    url: address: https://, or hf://OWNER/REPOSITORY/PATH for a file of the
      Hugging Face Hub. Empty: no address that a program can fetch is known.
    sha256: published SHA-256 in hexadecimal, or its first digits; empty where
      none is published. The Hub publishes that of large files itself.
  """

  name: str
  url: str = ""
  sha256: str = ""


@dataclasses.dataclass(frozen=True)
class Entry:
  """Published weights or reference statistics.

  Attributes:
    name: unique name.
    kind: what they are weights of.
    files: one file, or the files of a folder.
    page: page that publishes the files.
    licence: licence of the files.
    size: approximate number of bytes of all files; None where unknown. Where
      the page gives no size, it follows from the number of parameters.
    config: name of the experiment in `configs` that the weights belong to.
    model: arguments of `create_model` for a network, and fields of
      `AutoencoderKL` for an autoencoder without config.json.
    autoencoder: name of the weights that decode the latents of a network.
    teacher: name of the weights of the network that a one-step network was
      distilled from.
    score: published score, with how it was measured.
    packaged: whether the files are part of this package.
  """

  name: str
  kind: Kind
  files: tuple[File, ...]
  page: str
  licence: Licence
  size: int | None = None
  config: str = ""
  model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  autoencoder: str = ""
  teacher: str = ""
  score: str = ""
  packaged: bool = False

  @property
  def folder(self) -> str:
    """Name of the folder of the files in the cache."""
    return self.name.replace("/", "-")

  @property
  def is_folder(self) -> bool:
    """Whether the weights are a folder instead of a single file."""
    return len(self.files) > 1
