"""The flags that name a config."""

import pytest
from absl import flags

from get_jax.cli import config_flags
from get_jax.errors import UsageError
from tests.helpers import ROOT


@pytest.mark.parametrize("form", [["--config=dit_b2"], ["-config", "dit_b2"]])
def test_both_forms_of_the_flag(monkeypatch, form):
  parsed = []
  monkeypatch.setattr(
    config_flags.absl_flags,
    "FLAGS",
    lambda argv: parsed.extend(argv) or argv[:1],
  )
  config_flags.parse_flags(["get_jax", *form, "--config.seed=1"])
  file = str(ROOT / "configs" / "dit_b2.py")
  expected = [f"--config={file}"] if len(form) == 1 else ["-config", file]
  assert parsed == ["get_jax", *expected, "--config.seed=1"]


def test_an_argument_that_is_not_a_flag(monkeypatch):
  values = flags.FlagValues()
  monkeypatch.setattr(config_flags.absl_flags, "FLAGS", values)
  with pytest.raises(UsageError, match="dit_b2 is not a flag; expected --NAME"):
    config_flags.parse_flags(["get_jax", "dit_b2"])
