#!/usr/bin/env bash
# Says where to get a dataset, checks what is in DIR and counts it:
#   bash launch/prepare_data.sh DATASET DIR [TFDS_DIR]
# DATASET is celeba, mafl, aflw, pf_pascal or lsun. Given TFDS_DIR it also
# builds the dataset for tensorflow-datasets there (not lsun). It downloads
# nothing: most of these datasets ask for an agreement first.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  echo "usage: bash $0 celeba|mafl|aflw|pf_pascal|lsun DIR [TFDS_DIR]" >&2
  exit 2
fi

python="$root/.venv/bin/python"
[ -x "$python" ] || python=python3
if ! "$python" -c 'import absl, jax' 2>/dev/null; then
  echo "error: $python lacks what requirements.txt lists; install it first" >&2
  exit 2
fi
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export JAX_PLATFORMS=cpu
exec "$python" -m c3_jax.data.prepare --dataset="$1" --root="$2" --tfds="${3:-}"
