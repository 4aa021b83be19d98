# Sourced by the other scripts: makes the virtual environment once and installs
# the project into it. PYTHON chooses the interpreter, VENV the folder.
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
