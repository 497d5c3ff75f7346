#!/usr/bin/env bash
# Trains on all GPUs of this machine; one process drives them all by pmap:
#   bash launch/local.sh --config=configs/folder.py --workdir=DIR [FLAGS]
# CUDA_VISIBLE_DEVICES=0,1 takes fewer. Paths are relative to where you are. The
# batch must be a multiple of 2 x GPUs: with 8 add --config.batch_size=192.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

if [ $# -eq 0 ]; then
  echo "usage: bash $0 --config=FILE --workdir=DIR [FLAGS]" >&2
  exit 2
fi

# GPU images often have their own JAX.
python="$root/.venv/bin/python"
[ -x "$python" ] || python=python3

export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
# The run has the GPUs to itself; JAX would take 0.75 of their memory.
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}"

# Where JAX finds no GPU it takes the CPU, which nobody wants from this script.
if ! "$python" -c 'import jax
assert jax.default_backend() != "cpu"
print(jax.local_device_count(), "x", jax.devices()[0].device_kind)' 2>/dev/null
then
  echo "error: $python has no JAX that finds a GPU here; install it with" \
    "$python -m pip install \"jax[cuda13]==0.10.2\"" >&2
  exit 2
fi
exec "$python" -m c3_jax.main "$@"
