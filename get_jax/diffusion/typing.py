"""Type aliases of the package."""

from collections.abc import Callable

import jax
import numpy as np

# Functions accept NumPy arrays in place of JAX arrays.
Array = jax.Array | np.ndarray

# A network with its parameters and conditioning bound: (x, t) -> output, with
# x (B, H, W, C) float32, t (B,) float32, the time input of the network, and
# output (B, H, W, C), or (B, H, W, 2C) with a learned variance. Some networks
# take further scalars (B,) by name.
Network = Callable[..., jax.Array]
