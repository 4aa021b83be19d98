"""Tables of GET (Geng et al. 2023).

`SIZES` has Tables 2, 4, 6, 7 and 8.
"""

from published.tables import SizeRow, SizeTable

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
