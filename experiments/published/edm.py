"""Tables of EDM (Karras et al. 2022): quality."""

from published.tables import QualityTable


def _table(title: str, rows: dict, notes: str = "") -> QualityTable:
  return QualityTable(
    title=f"EDM, {title}",
    preset="edm",
    scores=("fid",),
    rows={row: (fid,) for row, fid in rows.items()},
    notes=notes,
  )


QUALITY: dict[str, QualityTable] = {
  "cifar10": _table(
    "Table 2, F: CIFAR-10, 35 evaluations",
    {
      "conditional, VP": 1.79,
      "conditional, VE": 1.79,
      "unconditional, VP": 1.97,
      "unconditional, VE": 1.98,
    },
    "Others who retrained the unconditional VP model report 2.04 to 2.08, and "
    "changes from one snapshot to the next. VE: unverified, the paper's text "
    "was not available.",
  ),
  "ffhq64": _table(
    "Table 2, F: FFHQ 64x64, 79 evaluations",
    {"VP": 2.39, "VE": 2.53},
    "As DiffiT's Table 2 quotes them.",
  ),
  "afhqv2": _table(
    "Table 2, F: AFHQv2 64x64, 79 evaluations",
    {"VP": 1.96, "VE": 2.16},
    "VE: unverified, the paper's text was not available.",
  ),
  "imagenet64": _table(
    "ImageNet 64x64, 511 evaluations", {"ADM architecture": 1.36}
  ),
}
