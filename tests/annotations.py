"""The run-time check of type annotations and array shapes in tests."""

import beartype

# As type checkers do (PEP 484), an int is accepted as a float.
check_annotations = beartype.beartype(
  conf=beartype.BeartypeConf(is_pep484_tower=True)
)
