#!/usr/bin/env bash
# Trains a one-step generator of digits: bash scripts/digits.sh [WORKDIR]
EXTRAS="${EXTRAS:-test}"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$VENV/bin/python" main.py --config=configs/get_digits.py \
  --workdir="${1:-runs/get_digits}"
