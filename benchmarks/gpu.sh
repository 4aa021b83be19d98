#!/usr/bin/env bash
# Runs the benchmarks of an accelerator: training of DiT-XL/2 with and without
# flash attention and GET-B by iterations, both against compiled PyTorch, EDM
# pairs, Inception, the autoencoder, gradients by iterations, checkpoints and
# compile times, in bfloat16. Writes benchmarks/results/CARD.md and CARD.json,
# where CARD is the name of the device. Measured cases are kept, so a run that
# was stopped continues.
#
#   pip install -e ".[cuda12]" torch==2.13.0
#   bash benchmarks/gpu.sh
#
# PYTHON is the Python to use. Arguments are passed to benchmarks/run.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python}
# Leaves memory to PyTorch, which runs in the same process.
export XLA_PYTHON_CLIENT_PREALLOCATE=${XLA_PYTHON_CLIENT_PREALLOCATE:-false}
exec "$PYTHON" benchmarks/run.py gpu "$@"
