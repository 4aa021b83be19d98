#!/usr/bin/env bash
# Sets up an environment and runs all checks: bash scripts/test.sh [pytest arguments]
EXTRAS=test
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
"$VENV/bin/ruff" check .
"$VENV/bin/ruff" format --check .
"$VENV/bin/lint-imports"
"$VENV/bin/mypy"
# Scripts import their neighbours by bare names, as Python does when it runs them.
for folder in experiments benchmarks; do
  MYPYPATH="$folder" "$VENV/bin/mypy" --cache-dir=".mypy_cache/$folder" "$folder"
done
exec "$VENV/bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
  "$@"
