"""Official checkpoints and reference statistics by name.

Nothing is downloaded unless a name is given. The first use of a name downloads
its files into the cache, and every use verifies them.
"""

from get_jax.weights.entry import Entry, File, Licence
from get_jax.weights.fetching import fetch
from get_jax.weights.loading import create_network, load
from get_jax.weights.registry import find, names, suggest_names
from get_jax.weights.settings import (
  fetch_together,
  is_published,
  load_autoencoder,
  locate,
)

__all__ = [
  "Entry",
  "File",
  "Licence",
  "create_network",
  "fetch",
  "fetch_together",
  "find",
  "is_published",
  "load",
  "load_autoencoder",
  "locate",
  "names",
  "suggest_names",
]
