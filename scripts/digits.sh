#!/usr/bin/env bash
# Real digits to a one-step generator: bash scripts/digits.sh [workdir]
EXTRAS="${EXTRAS:-test}"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$VENV/bin/python" main.py --config=configs/get_digits.py \
  --workdir="${1:-runs/get_digits}"
