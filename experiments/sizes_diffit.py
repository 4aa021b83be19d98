"""DiffiT's Table 9, S.2 and S.3 (Hatamizadeh et al. 2024), ours beside them.

python experiments/sizes_diffit.py

Also the networks of the ablations by the fields that make them.
"""

import jax
from published_sizes import Row, SizeTable, main
from rich.console import Console
from rich.table import Table

from get_jax.models import create_model
from get_jax.models.parameters import abstract_params

BLOCK_ATTENTION = 2 * 256**2 * 1152  # products of queries, keys and values
CIFAR10 = "DiffiT-CIFAR-10"


def _ablation(label: str, note: str = "", **fields) -> Row:
  return Row(label, CIFAR10, fields=fields, note=note)


TABLES = (
  SizeTable(
    title="DiffiT, Table 9: ImageNet 256",
    position_table=True,
    rows=(
      Row("DiT-XL/2", "DiT-XL/2", "675", "119"),
      Row(
        "DiffiT",
        "DiffiT-256",
        "561",
        "114",
        more_macs=-28 * BLOCK_ATTENTION,
        note="without the products of attention",
      ),
      Row(
        "DiffiT",
        "DiffiT-256",
        "561",
        "119",
        note="counted as DiT: nothing is saved",
      ),
      Row(
        "DiffiT, depth 30",
        "DiffiT-256-depth30",
        "561",
        "114",
        more_macs=-30 * BLOCK_ATTENTION,
        note="appendix H.2 says 30 blocks; the count is of 28",
      ),
    ),
    notes="The paper counts DiT's multiply-adds with the products of attention "
    "and DiffiT's without. A fifteenth of the parameters, the time's share of "
    "the keys, is without effect: softmax cancels it.",
  ),
  SizeTable(
    title="DiffiT in image space: both readings of its blocks",
    rows=(
      Row("CIFAR-10, H.1: 4, 4, 4", "DiffiT-CIFAR-10"),
      Row("CIFAR-10, I.1: 2, 2, 2", "DiffiT-CIFAR-10-I.1"),
      Row("FFHQ-64, H.1: 4, 4, 4, 4", "DiffiT-FFHQ-64"),
      Row("FFHQ-64, I.1: 1, 2, 2, 2", "DiffiT-FFHQ-64-I.1"),
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

# Output sizes of Tables S.2 and S.3, by our names of the layers.
STAGES = {
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


def stage_shapes() -> dict[str, tuple[int, ...]]:
  """(H, W, C) behind each layer of the FFHQ network."""
  model = create_model("DiffiT-FFHQ-64")

  def run(params, *inputs):
    return model.apply(
      {"params": params},
      *inputs,
      capture_intermediates=lambda module, _: module.name in STAGES,
      mutable=["intermediates"],
    )[1]["intermediates"]

  kept = jax.eval_shape(run, abstract_params(model), *model.inputs(1))
  return {name: kept[name]["__call__"][0].shape[1:] for name in STAGES}


def print_stages() -> None:
  """Tables S.2 and S.3."""
  table = Table(
    "component", "printed", "ours", "", title="DiffiT, Tables S.2 and S.3"
  )
  for name, shape in stage_shapes().items():
    component, printed = STAGES[name]
    note = "" if shape == printed else "misprint: resampling keeps channels"
    table.add_row(component, str(printed), str(shape), note)
  Console().print(table)


if __name__ == "__main__":
  main(TABLES)
  print_stages()
