"""Parameters and multiply-adds of DiT against the reference table."""

import json

import pytest
from cases import files

from get_jax.models import create_model
from get_jax.models.counting import model_size

ROWS = [
  row
  for path in files("dit/counts*.json")
  for row in json.loads(path.read_text())["rows"]
]


@pytest.mark.parametrize(
  "row", ROWS, ids=lambda row: f"{row['model']}-{row['block']}-{row['image']}"
)
def test_counts(row):
  model = create_model(
    row["model"], image_size=row["image"], block=row["block"]
  )
  assert model.input_size == row["latent"]
  size = model_size(model)
  assert size.params == row["params_without_pos_embed"]
  assert size.position_table == row["pos_embed_entries"]
  assert size.macs == row["macs"]
  # The paper rounds; its counts leave the position table out.
  if row.get("paper_params_M") is not None:
    assert round(size.params / 1e6) == row["paper_params_M"]
  if row.get("paper_gflops") is not None:
    paper = row["paper_gflops"] * 1e9
    assert abs(size.macs - paper) <= max(6e6, 25e-5 * paper)
