"""Descriptions of the entries for tables."""

from get_jax.weights.entry import Entry


def format_size(entry: Entry) -> str:
  """Returns the size of the files in GB or MB; "" where it is unknown."""
  if entry.size is None:
    return ""
  megabytes = entry.size / 1e6
  return (
    f"{megabytes / 1e3:.2f} GB" if megabytes > 999 else f"{megabytes:.0f} MB"
  )


def format_licence(entry: Entry) -> str:
  """Returns the licence, marked if it excludes commercial use."""
  licence = entry.licence
  return licence.name + ("" if licence.commercial else " (non-commercial)")


def is_manual(entry: Entry) -> bool:
  """Returns whether the user has to download a file of the entry by hand."""
  return not all(file.url for file in entry.files)
