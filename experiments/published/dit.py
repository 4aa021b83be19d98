"""Tables of DiT (Peebles and Xie 2023), numbered as in arXiv v2.

`QUALITY` has the results on ImageNet; `SIZES` has Tables 1 and 4.
"""

from published.tables import QualityTable, SizeRow, SizeTable

SCORES = ("fid", "sfid", "inception_score", "precision", "recall")
DECODER = "250 DDPM steps, decoder ft-EMA; guidance on 3 of 4 channels."

QUALITY: dict[str, QualityTable] = {
  "table2": QualityTable(
    title="DiT, Table 2: ImageNet 256x256, 7M steps",
    preset="dit",
    scores=SCORES,
    rows={
      "DiT-XL/2": (9.62, 6.85, 121.50, 0.67, 0.67),
      "DiT-XL/2-G (1.25)": (3.22, 5.28, 201.77, 0.76, 0.62),
      "DiT-XL/2-G (1.50)": (2.27, 4.60, 278.24, 0.83, 0.57),
    },
    notes=DECODER,
  ),
  "table3": QualityTable(
    title="DiT, Table 3: ImageNet 512x512, 3M steps",
    preset="dit",
    scores=SCORES,
    rows={
      "DiT-XL/2": (12.03, 7.12, 105.25, 0.75, 0.64),
      "DiT-XL/2-G (1.25)": (4.64, 5.77, 174.77, 0.81, 0.57),
      "DiT-XL/2-G (1.50)": (3.04, 5.02, 240.82, 0.84, 0.54),
    },
    notes=DECODER,
  ),
  "table4": QualityTable(
    title="DiT, Table 4: without guidance",
    preset="dit",
    scores=("fid",),
    rows={
      "DiT-S/8, 400K": (153.60,),
      "DiT-S/4, 400K": (100.41,),
      "DiT-S/2, 400K": (68.40,),
      "DiT-B/8, 400K": (122.74,),
      "DiT-B/4, 400K": (68.38,),
      "DiT-B/2, 400K": (43.47,),
      "DiT-L/8, 400K": (118.87,),
      "DiT-L/4, 400K": (45.64,),
      "DiT-L/2, 400K": (23.33,),
      "DiT-XL/8, 400K": (106.41,),
      "DiT-XL/4, 400K": (43.01,),
      "DiT-XL/2, 400K": (19.47,),
      "DiT-XL/2, 400K, in-context": (35.24,),
      "DiT-XL/2, 400K, cross-attention": (26.14,),
      "DiT-XL/2, 400K, adaLN": (25.21,),
      "DiT-XL/2, 2352K": (10.67,),
      "DiT-XL/2, 7000K": (9.62,),
      "DiT-XL/2, 512x512, 1301K": (13.78,),
      "DiT-XL/2, 512x512, 3000K": (11.93,),
    },
    notes="Decoder ft-MSE in the scaling study. 512x512 at 3000K is 12.03 in "
    "Table 3.",
  ),
  "table5": QualityTable(
    title="DiT, Table 5: decoders, DiT-XL/2-G (1.50), ImageNet 256x256",
    preset="dit",
    scores=SCORES,
    rows={
      "original": (2.46, 5.18, 271.56, 0.82, 0.57),
      "ft-MSE": (2.30, 4.73, 276.09, 0.83, 0.57),
      "ft-EMA": (2.27, 4.60, 278.24, 0.83, 0.57),
    },
  ),
}

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
