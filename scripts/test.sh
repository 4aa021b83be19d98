#!/usr/bin/env bash
# Sets up an environment and passes the tests: bash scripts/test.sh [pytest arguments]
EXTRAS=test
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
"$VENV/bin/ruff" check .
"$VENV/bin/ruff" format --check .
"$VENV/bin/lint-imports"
exec "$VENV/bin/python" -m pytest -n 2 --dist loadfile "$@"
