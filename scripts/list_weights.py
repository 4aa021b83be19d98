"""Writes docs/weights.md from the registry of published weights.

python scripts/list_weights.py
"""

import pathlib
from collections.abc import Sequence

from get_jax.weights import Entry, find, names
from get_jax.weights.entry import Kind
from get_jax.weights.fetching import web_address
from get_jax.weights.table import format_licence, format_size, is_manual

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "weights.md"
INTRODUCTION = """\
# Weights by name

Official checkpoints and reference statistics have names. The first use of a
name downloads its files; nothing is downloaded unless a name is given. Where a
setting takes a path, a file or folder that exists takes precedence over a name.

```bash
python main.py --mode=weights
python main.py --mode=weights --weights=DiT-XL/2-256 --accept_licence
python main.py --mode=sample --weights=DiT-XL/2-256 --workdir=runs/dit
python main.py --mode=evaluate --weights=edm-cifar10-32x32-uncond-vp \\
  --config.evaluation.extractor=inception \\
  --config.evaluation.reference=edm-cifar10-32x32 --workdir=runs/edm
```

| setting | names |
| --- | --- |
| `--weights` | networks |
| `--config.init_from` | networks |
| `--checkpoint` | networks |
| `--config.autoencoder.weights` | autoencoders |
| `--config.latents.captions.encoder` | text encoders |
| `--config.evaluation.extractor_path` | extractors |
| `--config.evaluation.reference` | references |

`--weights` is for the modes `train`, `sample`, `evaluate` and `weights`. It
sets `init_from` to the name, and `--config` to the one in the table if that is
not given. If the config names no autoencoder, the one in the table decodes
latents.
A network may also start from weights of another size
([fine-tuning](finetuning.md)). With `--config.evaluation.extractor=inception`,
an empty `extractor_path` stands for `inception`.

In Python:

<!-- not run: downloads the weights -->

```python
from get_jax import weights

weights.names("network")
params = weights.load("DiT-XL/2-256", accept_licence=True)
model = weights.create_network("DiT-XL/2-256")
path = weights.fetch("adm-imagenet-256")
```

## Cache

The files are in the folder `weights` of `--cache_dir`, which is
`$XDG_CACHE_HOME/get_jax` or `~/.cache/get_jax` by default. Each name has a
folder, in which `/` is replaced by `-`. It may be deleted at any time.

- A download that was cut continues where it ended, in the same process or the
  next one. Processes that share the cache download a file once.
- Every use verifies the files: with the published SHA-256 where there is one
  (files of the Hugging Face Hub, and Inception), and with that of the first
  use, which is kept in `FILE.sha256`.
- Parameters of networks and autoencoders are converted once, and stored next to
  the file.
- A machine without access to the internet uses files that were placed in the
  folder by hand, under the names in the tables. The message of a download that
  fails contains address, path and licence. `HF_ENDPOINT`, `HF_TOKEN`,
  `HF_HUB_OFFLINE` and `HTTPS_PROXY` have their usual meaning.

## Licences

The licence of each file is that of its publisher, not that of this library. The
first use of weights that exclude commercial use prints the licence, and needs
`--accept_licence` (or `--accept_license`); the acceptance is stored in the
cache. "None stated" means that the page of the official code states no licence.

## Sizes and scores

Sizes are approximate; most follow from the number of parameters. The scores are
the published ones; [checkpoints](checkpoints.md) and the header of each config
describe how they were measured.
"""
AFTER = """\
## Not available by name

iMF (hub `Lyy0725/iMF`) and MeanFlow publish states of Flax in zip files, for
networks that this library does not have.

`python scripts/list_weights.py` writes this page.
"""


def page() -> str:
  """Returns the whole page."""
  parts = [
    INTRODUCTION,
    "## Networks\n\n"
    + table(
      "network",
      ("name", "file", "config", "autoencoder", "size", "licence", "score"),
    ),
  ]
  kinds: dict[str, Kind] = {
    "Autoencoders": "autoencoder",
    "Text encoders": "text encoder",
    "Extractors": "extractor",
    "References": "reference",
  }
  for title, kind in kinds.items():
    columns = ("name", "file", "size", "licence")
    parts.append(f"## {title}\n\n{table(kind, columns)}")
  return "\n\n".join(part.rstrip("\n") for part in (*parts, AFTER)) + "\n"


def table(kind: Kind, columns: Sequence[str]) -> str:
  """Returns the entries of a kind as a Markdown table."""
  rows = [
    f"| {' | '.join(columns)} |",
    f"| {' | '.join('---' for _ in columns)} |",
  ]
  for name in names(kind):
    entry = find(name)
    cells = {
      "name": f"`{name}`",
      "file": format_files(entry),
      "config": f"`{entry.config}`",
      "autoencoder": f"`{entry.autoencoder}`" if entry.autoencoder else "",
      "size": format_size(entry),
      "licence": f"[{format_licence(entry)}]({entry.licence.url})",
      "score": entry.score,
    }
    rows.append(f"| {' | '.join(cells[column] for column in columns)} |")
  return "\n".join(rows)


def format_files(entry: Entry) -> str:
  """Returns links to the files, or to the page of those to get by hand."""
  if entry.packaged:
    return "part of this package"
  if is_manual(entry):
    (file,) = entry.files
    return f"by hand from [this page]({entry.page}), as `{file.name}`"
  return ", ".join(
    f"[{file.name}]({web_address(file)})" for file in entry.files
  )


if __name__ == "__main__":
  PAGE.write_text(page(), "utf-8")
