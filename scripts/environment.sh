# Sourced by the other scripts. Creates the virtual environment, if it does not
# exist or is out of date, and installs the project into it. PYTHON is the
# interpreter, VENV the folder of the environment, EXTRAS the extras to install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "get_jax needs Python 3.11 or newer; PYTHON=$PYTHON is" \
    "$("$PYTHON" --version 2>&1)" >&2
  exit 2
fi
want="$("$PYTHON" --version) $(cksum < setup.py) $EXTRAS"
if [ "$(cat "$VENV/installed" 2>/dev/null)" != "$want" ]; then
  echo "Installing get_jax[$EXTRAS] into $VENV (once) ..."
  rm -rf "$VENV"
  "$PYTHON" -m venv "$VENV"
  "$VENV/bin/python" -m pip install --quiet --upgrade pip
  "$VENV/bin/python" -m pip install --quiet --editable ".[$EXTRAS]"
  echo "$want" > "$VENV/installed"
fi
