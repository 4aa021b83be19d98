r"""DiffiT's results (Hatamizadeh et al. 2024), and ours beside them.

python experiments/quality_diffit.py
python experiments/quality_diffit.py cifar10 --run "DiffiT=runs/diffit"
"""

from beside_published import PublishedTable, main

SCORES = ("fid", "sfid", "inception_score", "precision", "recall")


def _image_space(title: str, rows: dict) -> PublishedTable:
  return PublishedTable(
    title=f"DiffiT, {title}",
    preset="diffit",
    scores=("fid",),
    rows={row: (fid,) for row, fid in rows.items()},
  )


TABLES = {
  "imagenet256": PublishedTable(
    title="DiffiT, Table 1: ImageNet 256x256 (sFID from the authors' code)",
    preset="diffit",
    scores=SCORES,
    rows={
      "DiT-XL/2-G": (2.27, None, 278.24, 0.83, 0.57),
      "MDT-G": (1.79, None, 283.01, 0.81, 0.61),
      "SiT-XL": (2.06, None, 270.27, 0.82, 0.59),
      "DiffiT": (1.73, 4.54, 276.49, 0.80, 0.62),
    },
  ),
  "imagenet512": PublishedTable(
    title="DiffiT, Table 1: ImageNet 512x512 (sFID from the authors' code)",
    preset="diffit",
    scores=SCORES,
    rows={
      "DiT-XL/2-G": (3.04, None, 240.82, 0.84, 0.54),
      "DiffiT": (2.67, 4.99, 252.12, 0.83, 0.55),
    },
  ),
  "cifar10": _image_space(
    "Table 2: CIFAR-10",
    {"U-ViT": 3.11, "EDM (VE)": 2.01, "EDM (VP)": 1.99, "DiffiT": 1.95},
  ),
  "ffhq64": _image_space(
    "Table 2: FFHQ 64x64", {"EDM (VE)": 2.53, "EDM (VP)": 2.39, "DiffiT": 2.22}
  ),
  "table4": _image_space(
    "Table 4: encoder and decoder, CIFAR-10",
    {
      "A: ViT, SETR-MLA": 5.34,
      "B: multi-resolution, SETR-MLA": 4.64,
      "C: multi-resolution, multi-resolution": 3.71,
      "D: DiffiT encoder, multi-resolution": 2.27,
      "E: DiffiT encoder, DiffiT decoder": 1.95,
    },
  ),
  "table5": _image_space(
    "Table 5: TMSA in another network, CIFAR-10",
    {
      "DDPM++ (VE)": 3.77,
      "DDPM++ (VE) with TMSA": 3.49,
      "DDPM++ (VP)": 3.01,
      "DDPM++ (VP) with TMSA": 2.76,
    },
  ),
  "table6": _image_space(
    "Table 6: where time enters, CIFAR-10",
    {"F: relative position bias": 3.97, "G: MLP": 3.81, "H: TMSA": 1.95},
  ),
  "table7": _image_space(
    "Table 7: time token, CIFAR-10", {"separate": 2.28, "mixed": 1.95}
  ),
  "table8": _image_space(
    "Table 8: time embedding, CIFAR-10", {"Fourier": 2.02, "positional": 1.95}
  ),
}

if __name__ == "__main__":
  main(TABLES)
