"""How the networks compare with the goals: PyTorch's time, and the peak."""

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]
# Share of the peak by task: transformers of width 384 and more, and U-Nets.
TRANSFORMERS = {"forward": 0.95, "forward+backward": 0.90}
U_NETS = {"forward": 0.75, "forward+backward": 0.75}
U_NET_NAMES = ("DiffiT-CIFAR", "DDPM++")
NARROW = ("GET-T",)  # width 256


def summarize(rows: Iterable[Row]) -> list[Row]:
  """Returns one row per goal, type and number of cores.

  Args:
    rows: the rows of `networks`.
  """
  groups: dict[tuple[Any, ...], list[tuple[float, str]]] = {}
  for row in rows:
    for goal, value in _values(row):
      key = goal, row["type"], row["cores"]
      groups.setdefault(key, []).append((value, row["network"]))
  table = []
  for (goal, dtype, cores), values in groups.items():
    at_most = goal.startswith("time")
    limit = float(goal.rsplit(" ", 1)[1])
    met = [v for v, _ in values if (v <= limit if at_most else v >= limit)]
    worst, network = (max if at_most else min)(values)
    middle = sorted(v for v, _ in values)[len(values) // 2]
    table.append(
      {
        "goal": goal,
        "type": dtype,
        "cores": cores,
        "met": f"{len(met)} of {len(values)}",
        "median": middle,
        "worst": worst,
        "network": network,
      }
    )
  return table


def _values(row: Row) -> Iterable[tuple[str, float]]:
  """Yields goals of a row, whose last word is the limit, and its values."""
  for kind in ("PyTorch", "compiled"):
    ratio = row.get(f"/ {kind}")
    if ratio is not None:
      name = "PyTorch's" if kind == "PyTorch" else "compiled PyTorch's"
      yield f"time of {row['task']} over {name} at most 1.0", ratio
  is_u_net = row["network"].startswith(U_NET_NAMES)
  limits = U_NETS if is_u_net else TRANSFORMERS
  if row["task"] in limits and not row["network"].startswith(NARROW):
    kind = "U-Nets" if is_u_net else "transformers"
    share = float(row["of the peak"].rstrip("%")) / 100
    yield (
      f"share of the peak of {kind}, {row['task']}, at least "
      f"{limits[row['task']]}",
      share,
    )
