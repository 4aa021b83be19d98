"""Durations as text."""


def format_seconds(seconds: float) -> str:
  """Returns a duration as its two largest units, such as "2 h 5 min"."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  days, hours = divmod(hours, 24)
  units = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
  first = next((i for i, (count, _) in enumerate(units) if count), 3)
  return " ".join(f"{n} {unit}" for n, unit in units[first : first + 2])
