"""Tables of compile reports."""

import dataclasses

from rich.console import Console

from get_jax.aot.fit_search import LargestBatch
from get_jax.aot.memory import Memory
from get_jax.aot.report import CompileReport
from get_jax.aot.roofline import Roofline
from get_jax.aot.tables import format_bytes, report_table, search_table

REPORT = CompileReport(
  fits=True,
  state=2**30,
  arguments=2**20,
  memory=Memory(2**20, 0, 2**21, 2**10, 2**22),
  needed=2**22,
  available=15.75 * 2**30,
  operations=3 * 10**12,
  operations_done=4 * 10**12,
  collectives={"all-gather": dict(count=2, runs=56, bytes=2**31)},
  largest=[],
  unbounded=1,
  roofline=Roofline(compute=0.5, memory=0.1, sending=0.25, floor=0.25),
  images=300,
  seconds=12.0,
  cpu_seconds=9.0,
)


def rows(table):
  """Returns the cells of a table's rows."""
  return list(zip(*(column.cells for column in table.columns), strict=True))


def test_report():
  table = report_table("DiT", REPORT)
  assert dict(rows(table)) == {
    "state, all devices together": "1.00 GiB",
    "memory per device: arguments": "1.0 MiB",
    "memory per device: outputs": "0.0 MiB",
    "memory per device: temporaries": "2.0 MiB",
    "memory per device: code": "0.0 MiB",
    "memory per device: peak": "4.0 MiB",
    "memory per device: available": "15.75 GiB",
    "operations per step": "3 T",
    "operations recomputed in the backward pass": "1 T",
    "all-gather: count in program, runs per step, bytes per step": (
      "2, 56, 2.00 GiB"
    ),
    "loops of unknown trip count (counted as one trip)": "1",
    "estimate: compute at 50% of peak": "500.0 ms",
    "estimate: memory traffic at 80% of bandwidth": "100.0 ms",
    "estimate: collectives at 80% of link bandwidth": "250.0 ms",
    "estimate: step, all collectives overlapped": "500.0 ms",
    "estimate: step, no collectives overlapped": "750.0 ms",
    "estimate: scaling efficiency": "67% to 100%",
    "estimate: images per second": "400 to 600",
    "tracing and compiling": "12 s (9 s CPU time)",
  }
  Console(quiet=True).print(table)


def test_report_of_a_step_that_does_not_compile():
  report = dataclasses.replace(
    REPORT, fits=False, memory=None, operations=None, roofline=None
  )
  names = dict(rows(report_table("DiT", report)))
  assert names["memory per device: arguments"] == "1.0 MiB"
  assert not any("operations" in n or "estimate" in n for n in names)


def test_search():
  settings = {"mesh.fsdp": 4, "model.remat": "dots"}
  table = search_table(
    "DiT", [LargestBatch(settings, 16, REPORT), LargestBatch({}, 0, None)]
  )
  assert rows(table) == [
    (
      "mesh.fsdp=4 model.remat=dots",
      "16 (largest)",
      "4.0 MiB of 15.75 GiB",
      "400 to 600",
    ),
    ("", "0", "", ""),
  ]


def test_unknown_size():
  assert format_bytes(None) == "unknown"
