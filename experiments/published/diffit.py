"""Tables of DiffiT (Hatamizadeh et al. 2024).

`SIZES` has Table 9 and, without printed numbers, the networks in image space
and those of the ablations. `FFHQ64_LAYERS` has Tables S.2 and S.3.
"""

from published.tables import SizeRow, SizeTable

# Multiply-adds of one block: queries with keys, and weights with values.
BLOCK_ATTENTION = 2 * 256**2 * 1152
CIFAR10 = "DiffiT-CIFAR-10"


def _ablation(label: str, note: str = "", **fields) -> SizeRow:
  return SizeRow(label, CIFAR10, fields=fields, note=note)


SIZES: tuple[SizeTable, ...] = (
  SizeTable(
    title="DiffiT, Table 9: ImageNet 256",
    position_table=True,
    rows=(
      SizeRow("DiT-XL/2", "DiT-XL/2", "675", "119"),
      SizeRow(
        "DiffiT",
        "DiffiT-256",
        "561",
        "114",
        extra_macs=-28 * BLOCK_ATTENTION,
        note="without the attention products",
      ),
      SizeRow(
        "DiffiT",
        "DiffiT-256",
        "561",
        "119",
        note="counted as in DiT's row: no reduction",
      ),
      SizeRow(
        "DiffiT, depth 30",
        "DiffiT-256-depth30",
        "561",
        "114",
        extra_macs=-30 * BLOCK_ATTENTION,
        note="appendix H.2 says 30 blocks; the count is of 28",
      ),
    ),
    notes="The paper counts DiT's multiply-adds with the attention products "
    "and DiffiT's without. A fifteenth of the parameters, those of the time's "
    "contribution to the keys, has no effect: softmax cancels it.",
  ),
  SizeTable(
    title="DiffiT in image space: both readings of its blocks",
    rows=(
      SizeRow("CIFAR-10, H.1: 4, 4, 4", "DiffiT-CIFAR-10"),
      SizeRow("CIFAR-10, I.1: 2, 2, 2", "DiffiT-CIFAR-10-I.1"),
      SizeRow("FFHQ-64, H.1: 4, 4, 4, 4", "DiffiT-FFHQ-64"),
      SizeRow("FFHQ-64, I.1: 1, 2, 2, 2", "DiffiT-FFHQ-64-I.1"),
    ),
    notes="The paper prints no sizes here. I.1's numbers are those of EDM's "
    "channel multipliers; H.1's are EDM's blocks per resolution.",
  ),
  SizeTable(
    title="DiffiT's ablations on CIFAR-10, by the fields of the model",
    rows=(
      _ablation(
        "Table 3: time 512, feature 512",
        widths=(256, 512, 512),
        note="first row; the last, printed alike, is a misprint for 512, 256",
      ),
      _ablation("Table 3: time 256, feature 256", time_features=256),
      _ablation("Table 4, C: plain encoder and decoder", time="stage"),
      _ablation("Table 4, D: plain decoder", decoder_time="stage"),
      _ablation("Table 6, F: time in the position bias", time="position-bias"),
      _ablation("Table 6, G: time in the perceptron", time="mlp"),
      _ablation("Table 7: separate time token", time="separate"),
      _ablation("Table 8: Fourier embedding", time_embedding="fourier"),
      _ablation("Figure 8: window 2", window=2),
      _ablation("Figure 8: window 8", window=8),
      _ablation("EDM's widths", widths=(256, 256, 256)),
    ),
    notes="Table 5 is the field `tmsa` of DDPM++ and NCSN++, Figure 7b "
    "block='TMSA' of DiT-XL/2.",
  ),
)

# Component and output shape (H, W, C) as Tables S.2 and S.3 print them, by the
# names of the layers in our model.
FFHQ64_LAYERS: dict[str, tuple[str, tuple[int, ...]]] = {
  "tokenizer": ("Tokenizer", (64, 64, 128)),
  "encoder_0": ("DiffiT ResBlock x L1", (64, 64, 128)),
  "downsample_0": ("Downsampler", (32, 32, 128)),
  "encoder_1": ("DiffiT ResBlock x L2", (32, 32, 256)),
  "downsample_1": ("Downsampler", (16, 16, 128)),
  "encoder_2": ("DiffiT ResBlock x L3", (16, 16, 256)),
  "downsample_2": ("Downsampler", (8, 8, 256)),
  "encoder_3": ("DiffiT ResBlock x L4", (8, 8, 256)),
  "upsample_2": ("Upsampler", (16, 16, 256)),
  "decoder_2": ("DiffiT ResBlock x L3", (16, 16, 256)),
  "upsample_1": ("Upsampler", (32, 32, 256)),
  "decoder_1": ("DiffiT ResBlock x L2", (32, 32, 256)),
  "upsample_0": ("Upsampler", (64, 64, 256)),
  "decoder_0": ("DiffiT ResBlock x L1", (64, 64, 128)),
  "head": ("Head", (64, 64, 3)),
}
