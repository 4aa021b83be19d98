"""scripts/tpu_run.sh against a gcloud that only notes its calls."""

import os
import subprocess

import pytest

from tests.helpers import ROOT

# Takes the next answer of each kind from files; the last one is repeated. A run
# of main.py answers with the exit codes of the workers.
GCLOUD = """#!/usr/bin/env bash
echo "$*" | tr '\\n' ' ' >> "$FAKE/calls"; echo >> "$FAKE/calls"
next() {
  head -n 1 "$FAKE/$1"
  if [ "$(wc -l < "$FAKE/$1")" -gt 1 ]; then sed -i 1d "$FAKE/$1"; fi
}
case "$*" in
  *" list "*) next states ;;
  *" ssh "*main.py*)
    for code in $(next codes); do echo "exit code $code of main.py"; done ;;
  *" ssh "*) exit "$(next installs)" ;;
esac
"""


@pytest.fixture
def tpu_run(tmp_path):
  """Runs the script; returns the exit code and the calls of gcloud."""
  gcloud = tmp_path / "bin" / "gcloud"
  gcloud.parent.mkdir()
  gcloud.write_text(GCLOUD)
  gcloud.chmod(0o755)

  def run(states, codes=(), installs=("0",), **variables):
    answers = {"states": states, "codes": codes, "installs": installs}
    for name, lines in answers.items():
      (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    done = subprocess.run(
      [
        "bash",
        "scripts/tpu_run.sh",
        "--config=dit_xl2",
        "--workdir=gs://b/a b",
      ],
      cwd=ROOT,
      env={
        **os.environ,
        "PATH": f"{gcloud.parent}:{os.environ['PATH']}",
        "FAKE": str(tmp_path),
        "POLL": "0",
        **dict(NAME="xl2", ZONE="us-west4-a", ACCELERATOR="v5litepod-64"),
        **variables,
      },
      capture_output=True,
      text=True,
      timeout=120,
    )
    path = tmp_path / "calls"
    calls = path.read_text().splitlines() if path.exists() else []
    prefix = "compute tpus queued-resources "
    assert all(call.startswith(prefix) for call in calls)
    return done, [call.removeprefix(prefix).strip() for call in calls]

  return run


def actions(calls):
  """Returns the calls that change something: create, scp, ssh, run, delete."""
  names = ["run" if "main.py" in call else call.split()[0] for call in calls]
  return [name for name in names if name != "list"]


def test_a_preempted_slice_is_created_again(tpu_run):
  done, calls = tpu_run(
    [
      "",
      "WAITING_FOR_RESOURCES",
      "ACTIVE",
      "SUSPENDED",
      "SUSPENDED",
      "",
      "ACTIVE",
    ],
    ["75 76 1", "0 0"],
  )
  assert done.returncode == 0, done.stderr
  once = ["create", "scp", "ssh", "run"]
  assert actions(calls) == [*once, "delete", *once, "delete"]
  create, delete = calls[1], calls[-1]
  assert create == (
    "create xl2 --zone=us-west4-a --accelerator-type=v5litepod-64 "
    "--runtime-version=v2-alpha-tpuv5-lite --node-id=xl2 --spot --async --quiet"
  )
  assert delete == "delete xl2 --zone=us-west4-a --force --quiet"
  (command, _) = [call for call in calls if "main.py" in call]
  assert "--node=all --worker=all" in command
  assert r"main.py --config=dit_xl2 --workdir=gs://b/a\ b" in command


def test_an_interrupted_command_is_repeated_on_the_same_slice(tpu_run):
  done, calls = tpu_run(["ACTIVE"], ["76 76", "", "0 0"])
  assert done.returncode == 0, done.stderr
  assert actions(calls) == [*["scp", "ssh", "run"] * 3, "delete"]


@pytest.mark.parametrize(("codes", "code"), [("76 2 2", 2), ("1 76", 1)])
def test_a_fault_ends_the_loop_and_the_costs(tpu_run, codes, code):
  done, calls = tpu_run(["ACTIVE"], [codes])
  assert done.returncode == code
  assert actions(calls) == ["scp", "ssh", "run", "delete"]


def test_an_installation_is_tried_three_times(tpu_run):
  done, calls = tpu_run(["ACTIVE"], installs=["1"])
  assert done.returncode == 1
  assert actions(calls) == [*["scp", "ssh"] * 3, "delete"]


def test_several_slices_on_demand(tpu_run):
  _, calls = tpu_run(["", "ACTIVE"], ["0"], SLICES="2", SPOT="0")
  assert "--node-count=2 --node-prefix=xl2 --async" in calls[1]


def test_a_missing_variable_is_named(tpu_run):
  done, calls = tpu_run(["ACTIVE"], ZONE="")
  assert (done.returncode, calls) == (2, [])
  assert done.stderr.startswith("ZONE is not set")
