#!/usr/bin/env bash
# Writes the newest versions that setup.py accepts, with everything they need,
# to requirements/: bash scripts/lock.sh
#   lock.txt    versions for all extras, as constraints for pip
#   hashes.txt  the same versions, with hashes, and the extras that need them;
#               scripts/environment.sh installs them
# Both hold for every Python and platform; markers tell where a line applies.
# Run the tests afterwards on each supported Python: the lock file promises that
# they passed with these versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools="$(mktemp -d)"
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/python" -m pip install --quiet uv
mkdir -p requirements
{
  echo "# Written by scripts/lock.sh."
  "$tools/bin/uv" pip compile setup.py --quiet --universal --all-extras \
    --python-version 3.11 --no-annotate --no-header
} > "$tools/lock.txt"
mv "$tools/lock.txt" requirements/lock.txt
"$tools/bin/python" scripts/locked.py --write "$tools/bin/uv"
