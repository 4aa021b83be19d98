"""The configs that docs/checkpoints.md names exist and match the files."""

import importlib
import pathlib
import re

import pytest

from get_jax.interop.families import FAMILIES
from get_jax.models import create_model

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "checkpoints.md"
SECTIONS = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)
CONFIGS = {
  section.split("\n", 1)[0]: sorted(set(re.findall(r"`(\w+)\.py`", section)))
  for section in SECTIONS
}
FAMILY_OF = {
  "DiT": {"DiT"},
  "SiT": {"DiT"},
  "U-ViT": {"U-ViT"},
  "DiffiT": {"DiffiT"},
  "GET": {"GET"},
  "MeanFlow": {"iMF"},
  "EDM": {"SongUNet", "DhariwalUNet"},
}


@pytest.mark.parametrize("section", FAMILY_OF)
def test_configs_of_a_section(section):
  assert CONFIGS[section]
  for name in CONFIGS[section]:
    config = importlib.import_module(f"configs.{name}").get_config()
    family = FAMILIES[type(create_model(**config.model))]
    assert family.name in FAMILY_OF[section], name
