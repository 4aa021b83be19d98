# Sourced by the other scripts. Creates the virtual environment, if it does not
# exist or is out of date, and installs the project into it. PYTHON is the
# interpreter, VENV the folder of the environment, EXTRAS the extras to install.
# The dependencies have the versions of requirements/lock.txt, with which the
# tests passed; LATEST=1 installs the newest versions that setup.py accepts.
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
versions=(--constraint requirements/lock.txt)
if [ "$LATEST" = 1 ]; then
  versions=(--upgrade)
fi
want="$("$PYTHON" --version) $(cat setup.py requirements/lock.txt | cksum)"
want+=" $EXTRAS ${versions[0]}"
if [ "$(cat "$VENV/installed" 2>/dev/null)" != "$want" ]; then
  echo "Installing get_jax[$EXTRAS] into $VENV (once) ..."
  rm -rf "$VENV"
  "$PYTHON" -m venv "$VENV"
  install=("$VENV/bin/python" -m pip install --quiet "${versions[@]}")
  "${install[@]}" setuptools
  "${install[@]}" --no-build-isolation --editable ".[$EXTRAS]"
  echo "$want" > "$VENV/installed"
fi
