r"""U-ViT's results on ImageNet (Bao et al. 2023), and ours beside them.

    python experiments/quality_uvit.py
    python experiments/quality_uvit.py imagenet256 \
      --run "H/2, SD, 500K, ft-EMA, 0.1=runs/uvit_h2"

Table 3 of the appendix, which ADM's evaluator made. A row names size, process
(VP or Stable Diffusion's), steps, convolution at the end, decoder, p_uncond.
"""

from beside_published import PublishedTable, main

SCORES = ("fid", "sfid", "inception_score", "precision", "recall")


def _table(size: str, rows: dict, notes: str = "") -> PublishedTable:
  return PublishedTable(
    title=f"U-ViT, appendix, Table 3: ImageNet {size}",
    preset="dit",  # the same evaluator and reference
    scores=SCORES,
    rows=rows,
    notes=notes,
  )


TABLES = {
  "imagenet64": _table(
    "64x64",
    {
      "M/4, VP, 300K, conv": (5.85, 4.09, 33.71, 0.69, 0.61),
      "L/4, VP, 300K, conv": (4.26, 3.77, 40.66, 0.71, 0.62),
    },
  ),
  "imagenet256": _table(
    "256x256",
    {
      "L/2, VP, 300K, conv, original, 0.15": (3.40, 6.63, 219.94, 0.83, 0.52),
      "H/2, VP, 300K, conv, original, 0.1": (3.10, 6.70, 250.82, 0.84, 0.53),
      "H/2, VP, 300K, original, 0.1": (3.74, 8.04, 244.47, 0.84, 0.51),
      "H/2, SD, 300K, conv, original, 0.1": (3.14, 7.81, 229.03, 0.82, 0.55),
      "H/2, SD, 300K, original, 0.15": (2.90, 7.70, 242.59, 0.81, 0.56),
      "H/2, SD, 300K, original, 0.1": (2.78, 7.55, 251.83, 0.82, 0.56),
      "H/2, SD, 500K, original, 0.1": (2.65, 8.17, 260.34, 0.81, 0.57),
      "H/2, SD, 500K, ft-EMA, 0.1": (2.29, 5.68, 263.88, 0.82, 0.57),
    },
    notes="Guidance 0.4; VP: DPM-Solver, SD: DPM-Solver++, 50 steps.",
  ),
  "imagenet512": _table(
    "512x512",
    {
      "L/4, VP, 500K, conv, original, 0.15": (4.67, 5.87, 213.28, 0.87, 0.45),
      "H/4, SD, 500K, original, 0.1": (4.34, 8.44, 261.13, 0.84, 0.48),
      "H/4, SD, 500K, ft-EMA, 0.1": (4.05, 6.44, 263.79, 0.84, 0.48),
    },
    notes="Guidance 0.7; VP: DPM-Solver, SD: DPM-Solver++, 50 steps.",
  ),
}

if __name__ == "__main__":
  main(TABLES)
