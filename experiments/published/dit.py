"""Tables of DiT (Peebles and Xie 2023), numbered as in arXiv v2.

`SIZES` has Tables 1 and 4.
"""

from published.tables import SizeRow, SizeTable

# Parameters and Gflops of Table 4, in latents of 256-pixel images.
SCALING = {
  "S/8": ("33", "0.36"),
  "S/4": ("33", "1.41"),
  "S/2": ("33", "6.06"),
  "B/8": ("131", "1.42"),
  "B/4": ("130", "5.56"),
  "B/2": ("130", "23.01"),
  "L/8": ("459", "5.01"),
  "L/4": ("458", "19.70"),
  "L/2": ("458", "80.71"),
  "XL/8": ("676", "7.39"),
  "XL/4": ("675", "29.05"),
  "XL/2": ("675", "118.64"),
}
DESIGNS = {
  "in-context": ("449", "119.37"),
  "cross-attention": ("598", "137.62"),
  "adaLN": ("600", "118.56"),
}
NOTES = {"B/4": "the only row with fewer Gflops than the matrix products alone"}

SIZES: tuple[SizeTable, ...] = (
  SizeTable(
    title="DiT, Table 1: patch 4",
    rows=(
      SizeRow("DiT-S", "DiT-S/4", macs="1.4"),
      SizeRow("DiT-B", "DiT-B/4", macs="5.6"),
      SizeRow("DiT-L", "DiT-L/4", macs="19.7"),
      SizeRow("DiT-XL", "DiT-XL/4", macs="29.1", note="Table 4 says 29.05"),
    ),
  ),
  SizeTable(
    title="DiT, Table 4",
    rows=(
      *(
        SizeRow(
          f"DiT-{name}", f"DiT-{name}", *printed, note=NOTES.get(name, "")
        )
        for name, printed in SCALING.items()
      ),
      *(
        SizeRow(f"DiT-XL/2, {block}", "DiT-XL/2", *printed, dict(block=block))
        for block, printed in DESIGNS.items()
      ),
      SizeRow(
        "DiT-XL/2, 512", "DiT-XL/2", "675", "524.60", dict(image_size=512)
      ),
    ),
    notes="The paper's Gflops above 20 are 0.011% to 0.022% larger than the "
    "multiply-adds of matrix products: adding 2 x depth x tokens x width gives "
    "its numbers in all rows but B/4.",
  ),
)
