"""The words of the type annotations."""

from collections.abc import Callable
from typing import Any

import jax

Array = jax.Array
# Any nesting of arrays: a state, parameters, inputs.
PyTree = Any
# f(params, x, z) -> z' of the structure, shapes and dtypes of z.
Map = Callable[[PyTree, PyTree, PyTree], PyTree]
