#!/usr/bin/env bash
# Builds the documentation: bash scripts/docs.sh [arguments of sphinx-build]
EXTRAS=docs
VENV="${VENV:-.venv-docs}"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
JAX_PLATFORMS=cpu "$VENV/bin/python" -m sphinx --quiet --fail-on-warning \
  --keep-going "$@" docs docs/_build/html
echo "open docs/_build/html/index.html"
