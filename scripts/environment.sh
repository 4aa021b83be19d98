# Sourced by the other scripts. Creates the virtual environment, if it does not
# exist or is out of date, and installs the project into it. PYTHON is the
# interpreter, VENV the folder of the environment, EXTRAS the extras to install.
# The dependencies are the files of requirements/hashes.txt, with which the tests
# passed; LATEST=1 installs the newest versions that setup.py accepts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"
LATEST="${LATEST:-0}"
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "get_jax needs Python 3.11 or newer; PYTHON=$PYTHON is" \
    "$("$PYTHON" --version 2>&1)" >&2
  exit 2
fi
want="$("$PYTHON" --version) $(cat setup.py requirements/hashes.txt | cksum)"
want+=" $EXTRAS $LATEST"
if [ "$(cat "$VENV/installed" 2>/dev/null)" != "$want" ]; then
  echo "Installing get_jax[$EXTRAS] into $VENV (once) ..."
  rm -rf "$VENV"
  "$PYTHON" -m venv "$VENV"
  install=("$VENV/bin/python" -m pip install --quiet)
  if [ "$LATEST" = 1 ]; then
    "${install[@]}" --upgrade setuptools
    "${install[@]}" --upgrade --no-build-isolation --editable ".[$EXTRAS]"
  else
    # Everything that is needed is listed. Without build isolation, pip downloads
    # nothing else to build the few packages that have no wheel.
    install+=(--no-deps --no-build-isolation)
    for parts in build "base,$EXTRAS"; do
      "$VENV/bin/python" scripts/locked.py "$parts" > "$VENV/requirements.txt"
      "${install[@]}" --require-hashes --requirement "$VENV/requirements.txt"
    done
    "${install[@]}" --editable .
    "$VENV/bin/python" -m pip --quiet check
  fi
  echo "$want" > "$VENV/installed"
fi
