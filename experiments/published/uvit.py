"""Sizes of U-ViT (Bao et al. 2023)."""

from get_jax.models.uvit import UViT
from published.tables import SizeRow, SizeTable


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
