"""Type aliases of the package."""

from collections.abc import Callable
from typing import Any

import jax

Array = jax.Array
# A pytree of arrays: a state, parameters or inputs.
PyTree = Any
# f(params, x, z) -> a state of the structure, shapes and dtypes of z.
Map = Callable[[PyTree, PyTree, PyTree], PyTree]
