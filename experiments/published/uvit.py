"""Tables of U-ViT (Bao et al. 2023): Table 3 of the appendix.

The scores were made by ADM's evaluator. A row of `QUALITY` names size, process
(VP or Stable Diffusion's), steps, convolution at the end, decoder, p_uncond.
"""

from get_jax.models.uvit import UViT
from published.tables import QualityTable, SizeRow, SizeTable

SCORES = ("fid", "sfid", "inception_score", "precision", "recall")


def _table(size: str, rows: dict, notes: str = "") -> QualityTable:
  return QualityTable(
    title=f"U-ViT, appendix, Table 3: ImageNet {size}",
    preset="dit",  # the same evaluator and reference
    scores=SCORES,
    rows=rows,
    notes=notes,
  )


QUALITY: dict[str, QualityTable] = {
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


def _layer_norm_operations(model: UViT) -> int:
  """Counts five operations for each number that passes a layer norm."""
  assert isinstance(model.input_size, int), "expected square images"
  tokens = (model.input_size // model.patch_size) ** 2 + 1
  tokens += bool(model.num_classes)
  norms = 2 * (model.depth + 1) + 1
  return 5 * norms * tokens * model.hidden_size


def _row(label: str, model: str, params: str, macs: str, **fields) -> SizeRow:
  return SizeRow(
    label, model, params, macs, fields, extra_macs=_layer_norm_operations
  )


SIZES: tuple[SizeTable, ...] = (
  SizeTable(
    title="U-ViT, appendix, Table 3",
    rows=(
      _row("ImageNet 64, U-ViT-M/4", "U-ViT-M/4", "131", "35"),
      _row("ImageNet 64, U-ViT-L/4", "U-ViT-L/4", "287", "77"),
      _row("ImageNet 256, U-ViT-L/2", "U-ViT-L/2", "287", "77"),
      _row("ImageNet 256, U-ViT-H/2", "U-ViT-H/2", "501", "133"),
      _row("... with conv", "U-ViT-H/2", "501", "133", conv=True),
      _row("ImageNet 512, U-ViT-L/4", "U-ViT-L/4-512", "287", "77"),
      _row("ImageNet 512, U-ViT-H/4", "U-ViT-H/4", "501", "133"),
    ),
    notes="The paper's GFLOPs are multiply-adds as fvcore counts them, with "
    "five operations for each number in a layer norm (0.03 to 0.09 G, in our "
    "column too). Table 1 of the appendix describes the H models only: the "
    "published L models on ImageNet 256 and 512 have the final convolution, "
    "the VP schedule and p_uncond 0.15.",
  ),
  SizeTable(
    title="U-ViT: the other configurations",
    rows=(
      SizeRow("CIFAR-10, U-ViT-S/2", "U-ViT-S/2"),
      SizeRow("CelebA 64, U-ViT-S/4", "U-ViT-S/4"),
      SizeRow("MS-COCO, U-ViT-S/2", "U-ViT-S/2-COCO", "45"),
      SizeRow("MS-COCO, U-ViT-S/2 (deep)", "U-ViT-S/2-COCO-deep"),
    ),
    notes="45M is from appendix C, which compares it with a U-Net of 53M.",
  ),
)
