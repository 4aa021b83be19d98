"""All published weights and reference statistics, by name."""

import difflib

from get_jax.errors import UsageError
from get_jax.weights.entry import Entry, Kind
from get_jax.weights.networks import NETWORKS
from get_jax.weights.packaged import PACKAGED
from get_jax.weights.parts import PARTS
from get_jax.weights.references import REFERENCES

ENTRIES: dict[str, Entry] = {
  entry.name: entry for entry in (*PACKAGED, *NETWORKS, *PARTS, *REFERENCES)
}


def names(kind: Kind | None = None) -> tuple[str, ...]:
  """Returns the names of all entries, or of those of a kind."""
  return tuple(
    entry.name for entry in ENTRIES.values() if kind in (None, entry.kind)
  )


def find(name: str, kind: Kind | None = None) -> Entry:
  """Returns an entry.

  Args:
    name: its name.
    kind: what it has to be; None for anything.

  Raises:
    UsageError: the name is unknown, or belongs to another kind.
  """
  if name not in ENTRIES:
    raise UsageError(
      f"no published weights are named {name!r}; {suggest_names(name, kind)}"
    )
  entry = ENTRIES[name]
  if kind not in (None, entry.kind):
    raise UsageError(
      f"{name} is of the kind {entry.kind!r}; expected the kind {kind!r}, see "
      "--mode=weights"
    )
  return entry


def suggest_names(name: str, kind: Kind | None = None) -> str:
  """Returns "did you mean ...?" with the names that are similar to `name`."""
  near = difflib.get_close_matches(name, names(kind), n=3)
  if near:
    return f"did you mean {' or '.join(map(repr, near))}?"
  return "--mode=weights lists the names"
