#!/usr/bin/env bash
# From nothing to landmarks on the built-in synthetic faces, on the CPU:
#   bash launch/quickstart.sh [FLAGS OF c3_jax.main]
# Paths in the flags are relative to the repository root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/environment.sh

workdir=runs/quickstart
for flag in "$@"; do
  case "$flag" in
    --workdir=*) workdir="${flag#*=}" ;;
  esac
done

SECONDS=0
install requirements.lock
echo "Ready to run after $SECONDS s."

if [ -e "$workdir" ]; then
  echo "Going on from what is in $workdir; delete it to start afresh."
fi
SECONDS=0
JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}" .venv/bin/python -m c3_jax.main \
  --config=configs/synthetic.py --workdir="$workdir" "$@"
echo "Trained and evaluated in $SECONDS s. Figures: $workdir/figures," \
  "numbers: $workdir/eval, log: $workdir/metrics.jsonl."
