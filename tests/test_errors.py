"""The sentences of invalid input."""

import pytest

from get_jax.errors import suggest


@pytest.mark.parametrize(
  "word, known, expected",
  [
    ("hune", ["heun", "ddim"], "did you mean 'heun'?"),
    ("x", ["heun", "ddim"], "expected one of: heun, ddim"),
    (3, ["heun"], "expected one of: heun"),
    ("x", [], "expected none"),
  ],
)
def test_suggestions(word, known, expected):
  assert suggest(word, known) == expected
