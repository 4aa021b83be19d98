r"""DiT's results on ImageNet (Peebles and Xie 2023), and ours beside them.

Tables are numbered as in arXiv v2.

    python experiments/quality_dit.py
    python experiments/quality_dit.py table2 \
      --run "DiT-XL/2-G (1.50)=runs/dit_xl2"
"""

from beside_published import PublishedTable, main

SCORES = ("fid", "sfid", "inception_score", "precision", "recall")
DECODER = "250 DDPM steps, decoder ft-EMA; guidance on 3 of 4 channels."

TABLES = {
  "table2": PublishedTable(
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
  "table3": PublishedTable(
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
  "table4": PublishedTable(
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
  "table5": PublishedTable(
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

if __name__ == "__main__":
  main(TABLES)
