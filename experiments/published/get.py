"""Tables of GET (Geng et al. 2023).

`QUALITY` has the results on CIFAR-10; `SIZES` has Tables 2, 4, 6, 7 and 8.
"""

from published.tables import QualityTable, SizeRow, SizeTable

SCORES = ("fid", "inception_score")
AUTHORS_LOG = (
  "The authors' log has T 15.23/8.40, M 10.81/8.77, S 7.99/9.05, B 7.39/9.17, "
  "B+ 7.21/9.07."
)

QUALITY: dict[str, QualityTable] = {
  "table1": QualityTable(
    title="GET, Table 1: unconditional CIFAR-10",
    preset="get",
    scores=SCORES,
    rows={
      "EDM (35 evaluations)": (2.04, 9.84),
      "KD": (9.36, 8.36),
      "PD": (9.12, None),
      "DFNO": (4.12, None),
      "TRACT-EDM": (4.17, None),
      "PD-EDM": (8.34, 8.69),
      "CD-EDM (LPIPS)": (3.55, 9.48),
      "CT": (8.70, 8.49),
      "GET-Base": (6.91, 9.16),
    },
    notes="Rows of other papers are against the training set.",
  ),
  "table2": QualityTable(
    title="GET, Table 2: size and training, unconditional CIFAR-10",
    preset="get",
    scores=SCORES,
    rows={
      "GET-Tiny": (15.19, 8.37),
      "GET-Mini": (10.72, 8.69),
      "GET-Small": (8.00, 9.03),
      "GET-Base": (7.42, 9.16),
      "GET-Base+": (7.19, 9.09),
      "GET-Tiny, 4x iterations": (11.47, 8.64),
      "GET-Base, 2x batch": (6.91, 9.16),
    },
    notes=AUTHORS_LOG,
  ),
  "table3": QualityTable(
    title="GET, Table 3: class-conditional CIFAR-10",
    preset="get",
    scores=SCORES,
    rows={
      "Guided Distillation (w = 0)": (8.34, 8.63),
      "Guided Distillation (w = 0.3)": (7.34, 8.90),
      "Guided Distillation (w = 1)": (8.62, 9.21),
      "Guided Distillation (w = 2)": (13.23, 9.23),
      "GET-Base": (6.25, 9.40),
    },
    notes="The authors' log has 6.23/9.42, and 5.66/9.63 with 2M pairs and "
    "1.2M iterations.",
  ),
  "table4": QualityTable(
    title="GET, Table 4: against ViT, unconditional CIFAR-10",
    preset="get",
    scores=SCORES,
    rows={"ViT-Base": (11.49, 8.61), "GET-Mini": (10.72, 8.69)},
  ),
  "table6": QualityTable(
    title="GET, Table 6: class injection, ViT at 200,000 iterations",
    preset="get",
    scores=SCORES,
    rows={
      "ViT-Uncond": (15.20, 8.27),
      "ViT-AdaLN-Zero": (17.19, 8.38),
      "ViT-Inj-Interface": (12.43, 8.69),
    },
  ),
}

CLASSES = dict(num_classes=10)

SIZES: tuple[SizeTable, ...] = (
  SizeTable(
    title="GET, Table 7: GET (and Table 2)",
    position_table=True,
    rows=(
      SizeRow(
        "GET-Tiny, Table 7",
        "GET-T/2",
        "8.9",
        note="misprint: Table 2 and the authors' log say 8.6",
      ),
      SizeRow("GET-Tiny, Table 2", "GET-T/2", "8.6"),
      SizeRow("GET-Mini", "GET-M/2", "19.2"),
      SizeRow(
        "GET-Small",
        "GET-S/2",
        "37.2",
        note="the table's E = 6 is a misprint for 8",
      ),
      SizeRow(
        "GET-Small with E = 6",
        "GET-S/2",
        "37.2",
        fields=dict(equilibrium_mlp_ratio=6.0),
        note="as printed: does not give the printed count",
      ),
      SizeRow("GET-Base", "GET-B/2", "62.2"),
      SizeRow("GET-Base+", "GET-B+/2", "83.5"),
    ),
    notes="Multiply-adds at six iterations. The text's 'GET-Small (31.2M)' is "
    "31.2 G of them.",
  ),
  SizeTable(
    title="GET, Table 4: against ViT",
    position_table=True,
    rows=(
      SizeRow("ViT-Base", "ViT-B/2", "85.2", "23.0"),
      SizeRow("GET-Mini", "GET-M/2", "19.2", "15.2"),
    ),
    notes="GET at six iterations.",
  ),
  SizeTable(
    title="GET, Table 6: how a class enters a ViT",
    position_table=True,
    rows=(
      SizeRow("ViT-Uncond", "ViT-B/2", "85.2"),
      SizeRow(
        "ViT-AdaLN-Zero",
        "ViT-B/2",
        "128.9",
        fields=dict(conditioning="adaLN-Zero", **CLASSES),
      ),
      SizeRow("ViT-Inj-Interface", "ViT-B/2", "85.2", fields=CLASSES),
    ),
  ),
  SizeTable(
    title="GET, Table 8: ViT",
    position_table=True,
    rows=(
      SizeRow("ViT-B", "ViT-B/2", "85.2"),
      SizeRow("ViT-L", "ViT-L/2", "302.6"),
    ),
  ),
)
