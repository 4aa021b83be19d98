"""Scaling of DiT-XL/2 to 16 to 4,096 chips: memory, collectives, efficiency.

    python experiments/pod_scaling.py

Compiles a training step for each pod with --mode=compile. It needs no
accelerator, but libtpu (`pip install -e ".[tpu]"`). Results are kept in
runs/pod_scaling, so that an interrupted command resumes; remove the folder to
compile again. The table is written to docs/performance.md, between the comments
that name this script.
"""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping

from tqdm import tqdm

from get_jax.aot.collectives import BETWEEN_SLICES

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
RUNS = ROOT / "runs" / "pod_scaling"
CONFIG = "configs/dit_xl2.py"
COMMON = {"model.scan": True, "model.dtype": "bfloat16", "model.remat": "dots"}
HEADER = (
  "| pod | chips | batch | mesh (data x fsdp) | needed of available, GiB "
  "| gathered | reduced | between slices | other | step, ms | efficiency "
  "| images/s |\n"
  "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: "
  "| ---: | ---: |\n"
)
REDUCED = ("all-reduce", "reduce-scatter")


@dataclasses.dataclass(frozen=True)
class Pod:
  """A pod and the batch and mesh of its training step.

  Attributes:
    topology: Topology of a slice, such as "v5e:4x4".
    chips: Number of chips in all slices.
    batch: Number of images per step.
    devices: Number of JAX devices.
    fsdp: Size of the mesh axis over which the state is sharded.
    slices: Number of slices.
  """

  topology: str
  chips: int
  batch: int
  devices: int
  fsdp: int = 16
  slices: int = 1

  @property
  def folder(self) -> pathlib.Path:
    """Workdir of its compile results."""
    name = self.topology.replace(":", "_")
    return RUNS / f"{name}_{self.slices}x_{self.batch}_fsdp{self.fsdp}"


PODS = (
  Pod("v5e:4x4", 16, 256, 16),
  Pod("v5e:8x8", 64, 1024, 64),
  Pod("tpu7x:4x4x4", 64, 2048, 128),
  Pod("v5e:16x16", 256, 4096, 256),
  Pod("v6e:16x16", 256, 4096, 256),
  Pod("v5e:16x16", 512, 8192, 512, slices=2),
  Pod("v5p:8x8x8", 512, 2048, 512),
  Pod("v5p:8x8x16", 1024, 16384, 1024),
  Pod("v5p:16x16x16", 4096, 65536, 4096),
)


def main() -> None:
  """Compiles the missing pods and writes the table."""
  rows = []
  with tqdm(PODS, desc="compiling", unit="pod") as bar:
    for pod in bar:
      bar.set_postfix_str(pod.topology)
      rows.append(format_row(pod, compile_report(pod)))
  table = HEADER + "\n".join(rows)
  print(table)
  text = PAGE.read_text("utf-8")
  start, end = (
    f"<!-- {edge}: experiments/pod_scaling.py -->" for edge in ("from", "to")
  )
  pattern = f"{re.escape(start)}.*{re.escape(end)}"
  section = f"{start}\n\n{table}\n\n{end}"
  PAGE.write_text(re.sub(pattern, lambda _: section, text, flags=re.S), "utf-8")


def compile_report(pod: Pod) -> dict:
  """Returns the report of --mode=compile, which runs if there is none yet."""
  path = pod.folder / "results" / "compile.json"
  if not path.exists():
    settings = {
      **COMMON,
      "batch_size": pod.batch,
      "mesh.data": -1,
      "mesh.fsdp": pod.fsdp,
    }
    subprocess.run(
      [
        sys.executable,
        "main.py",
        "--mode=compile",
        f"--config={CONFIG}",
        f"--workdir={pod.folder}",
        f"--topology={pod.topology}",
        f"--num_slices={pod.slices}",
        *(f"--config.{key}={value}" for key, value in settings.items()),
      ],
      cwd=ROOT,
      check=True,
      stdout=subprocess.DEVNULL,
    )
  return json.loads(path.read_text("utf-8"))


def format_row(pod: Pod, report: dict) -> str:
  """Returns the table row of a pod.

  Args:
    pod: The pod.
    report: Content of `results/compile.json`.
  """
  name = pod.topology + (f", {pod.slices} slices" if pod.slices > 1 else "")
  mesh = f"{pod.devices // pod.fsdp} x {pod.fsdp}"
  if not report["fits"]:
    memory = f"does not fit ({report['available'] / 2**30:.2f})"
    return (
      " | ".join(
        (f"| {name}", f"{pod.chips:,}", f"{pod.batch:,}", mesh, memory)
      )
      + " |" * 8
    )
  collectives = report["collectives"]
  gathered = _format_gib(collectives, ["all-gather"])
  reduced = _format_gib(collectives, REDUCED)
  between_slices = {
    kind for kind in collectives if kind.endswith(BETWEEN_SLICES)
  }
  between = _format_gib(collectives, between_slices)
  other = _format_gib(
    collectives, set(collectives) - between_slices - {"all-gather", *REDUCED}
  )
  roofline = report["roofline"]
  # Communication either follows computation or overlaps with it.
  computation = max(roofline["compute"], roofline["memory"])
  slow = computation + roofline["sending"]
  fast = max(computation, roofline["sending"])
  return (
    f"| {name} | {pod.chips:,} | {pod.batch:,} | {mesh} "
    f"| {report['needed'] / 2**30:.1f} of {report['available'] / 2**30:.1f} "
    f"| {gathered} | {reduced} | {between} | {other} "
    f"| {fast * 1e3:.0f} to {slow * 1e3:.0f} "
    f"| {computation / slow:.0%} to {computation / fast:.0%} "
    f"| {pod.batch / slow:,.0f} to {pod.batch / fast:,.0f} |"
  )


def _format_gib(collectives: Mapping[str, dict], kinds: Iterable[str]) -> str:
  size = sum(
    collectives[kind]["bytes"] for kind in kinds if kind in collectives
  )
  return f"{size / 2**30:.2f}"


if __name__ == "__main__":
  main()
