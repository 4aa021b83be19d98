"""Parameters and multiply-adds of DiT against the reference table."""

import json

from get_jax.models import create_model
from get_jax.models.counting import model_size


def test_all_rows(golden_dir):
  rows = json.loads((golden_dir / "dit" / "counts.json").read_text())["rows"]
  assert len(rows) == 16
  for row in rows:
    model = create_model(
      row["model"], image_size=row["image"], block=row["block"]
    )
    size = model_size(model)
    assert size.params == row["params_without_pos_embed"]
    assert size.position_table == row["pos_embed_entries"]
    assert size.macs == row["macs"]
    # The paper rounds; its counts leave the position table out.
    assert round(size.params / 1e6) == row["paper_params_M"]
    paper = row["paper_gflops"] * 1e9
    assert abs(size.macs - paper) <= max(6e6, 25e-5 * paper), row
