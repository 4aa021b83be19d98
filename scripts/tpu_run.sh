#!/usr/bin/env bash
# Runs main.py on a Cloud TPU slice until it ends. Creates the slice, and creates
# it again whenever it is preempted; deletes it at the end.
#
#   NAME=xl2 ZONE=us-west4-a ACCELERATOR=v5litepod-64 \
#     bash scripts/tpu_run.sh --config=dit_xl2 --workdir=gs://BUCKET/xl2
#
# The arguments are those of main.py. The workers get the last commit of this
# clone. Variables:
#   NAME         name of the queued resource and of its slice
#   ZONE         zone of Cloud TPU
#   ACCELERATOR  type of the slice, such as v5litepod-64, v5p-128, v6e-64
#   SLICES       number of slices (1)
#   SPOT         1: spot capacity, which may be preempted (default); 0: on demand
#   RUNTIME      image of the workers (default: that of the accelerator)
#   POLL         seconds between two looks at the state of the slice (30)
# Exit codes are those of main.py (docs/reliability.md).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for variable in NAME ZONE ACCELERATOR; do
  if [ -z "${!variable:-}" ]; then
    echo "$variable is not set; see the top of scripts/tpu_run.sh" >&2
    exit 2
  fi
done
case "$ACCELERATOR" in
  v5litepod-*) image=v2-alpha-tpuv5-lite ;;
  v5p-*) image=v2-alpha-tpuv5 ;;
  v6e-*) image=v2-alpha-tpuv6e ;;
  *) image=tpu-ubuntu2204-base ;;
esac
place=("$NAME" "--zone=$ZONE")
tpus=(gcloud compute tpus queued-resources)

say() { echo "tpu_run: $*" >&2; }

create() {
  local options=("--accelerator-type=$ACCELERATOR")
  options+=("--runtime-version=${RUNTIME:-$image}")
  if [ "${SLICES:-1}" -gt 1 ]; then
    options+=("--node-count=$SLICES" "--node-prefix=$NAME")
  else
    options+=("--node-id=$NAME")
  fi
  if [ "${SPOT:-1}" = 1 ]; then
    options+=(--spot)
  fi
  say "creating ${SLICES:-1} x $ACCELERATOR in $ZONE"
  "${tpus[@]}" create "${place[@]}" "${options[@]}" --async --quiet
}

delete() {
  say "deleting $NAME"
  "${tpus[@]}" delete "${place[@]}" --force --quiet
}

# Prints the state of the queued resource, nothing if it does not exist.
state() {
  "${tpus[@]}" list "--zone=$ZONE" "--filter=name~/$NAME\$" \
    "--format=value(state.state)"
}

on_all_workers() {
  "${tpus[@]}" ssh "${place[@]}" --node=all --worker=all --quiet \
    "--command=$1"
}

install() {
  local archive
  archive="$(mktemp -d)/get_jax.tar.gz"
  git archive --format=tar.gz --output="$archive" HEAD
  "${tpus[@]}" scp "$archive" "$NAME:get_jax.tar.gz" "--zone=$ZONE" \
    --node=all --worker=all --quiet
  rm -r "$(dirname "$archive")"
  # The images have Python 3.10.
  on_all_workers 'set -e
    mkdir -p get_jax && tar -xzf get_jax.tar.gz -C get_jax && cd get_jax
    command -v ~/.local/bin/uv || curl -LsSf https://astral.sh/uv/install.sh | sh
    test -d .venv || ~/.local/bin/uv venv --python 3.12
    ~/.local/bin/uv pip install --quiet --editable ".[tpu,tensorboard]"'
}

# Runs main.py on all workers; its output goes to the terminal and to a file.
# After a lost connection, what is left of the last command ends within a minute.
run() {
  local arguments
  arguments="$(printf '%q ' "$@")"
  on_all_workers "cd get_jax
    flock --timeout 300 --conflict-exit-code 75 /tmp/tpu_run.lock \
      .venv/bin/python main.py $arguments
    echo \"exit code \$? of main.py\"" 2>&1 | tee "$output"
}

# Whether a worker ended with this exit code of main.py.
ended_with() {
  grep -q "exit code $1 of main\.py" "$output"
}

# Ends the script with the exit code of main.py, after the slice is deleted.
finish() {
  say "main.py ended with exit code $1"
  delete
  exit "$1"
}

output="$(mktemp)"
failures=0
trap 'rm -f "$output"' EXIT
trap 'say "$NAME may still exist and cost money; to delete it:" \
  "${tpus[*]} delete ${place[*]} --force"; exit 130' INT TERM
while true; do
  if ! now="$(state)"; then
    say "the state of $NAME is unknown; asking again"
  elif [ -z "$now" ]; then
    create
  elif [ "$now" = FAILED ] || [ "$now" = SUSPENDED ]; then
    say "$NAME is $now"
    delete
    continue
  elif [ "$now" != ACTIVE ]; then
    say "$NAME is $now"
  elif ! install; then
    failures=$((failures + 1))
    say "the installation failed ($failures of 3 attempts)"
    if [ "$failures" = 3 ]; then
      delete
      exit 1
    fi
  else
    failures=0
    run "$@" || true
    # A worker of a slice that is preempted may end with any code.
    if [ "$(state)" = ACTIVE ]; then
      for code in 2 1; do
        if ended_with "$code"; then finish "$code"; fi
      done
    fi
    if ended_with 0; then finish 0; fi
    say "interrupted; running the command again"
  fi
  sleep "${POLL:-30}"
done
