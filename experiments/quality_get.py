"""GET's results on CIFAR-10 (Geng et al. 2023), and ours beside them.

python experiments/quality_get.py
python experiments/quality_get.py table2 --run "GET-Mini=runs/get_m"
"""

from beside_published import PublishedTable, main

SCORES = ("fid", "inception_score")
SLIPS = (
  "The authors' log has T 15.23/8.40, M 10.81/8.77, S 7.99/9.05, B 7.39/9.17, "
  "B+ 7.21/9.07."
)

TABLES = {
  "table1": PublishedTable(
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
  "table2": PublishedTable(
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
    notes=SLIPS,
  ),
  "table3": PublishedTable(
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
  "table4": PublishedTable(
    title="GET, Table 4: against ViT, unconditional CIFAR-10",
    preset="get",
    scores=SCORES,
    rows={"ViT-Base": (11.49, 8.61), "GET-Mini": (10.72, 8.69)},
  ),
  "table6": PublishedTable(
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

if __name__ == "__main__":
  main(TABLES)
