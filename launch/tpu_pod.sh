#!/usr/bin/env bash
# Trains on a TPU slice, from a machine with gcloud:
#   TPU=name ZONE=zone bash launch/tpu_pod.sh --config=configs/celeba.py \
#     --config.batch_size=192 --config.data.root=DIR --workdir=DIR [FLAGS]
# The batch must be a multiple of 2 x all devices x config.accumulate. WORKERS=1
# before the command is for a slice that is a single machine.
# Every worker must have this repository as ~/c3_jax with a .venv that has
# jax[tpu], and must reach DIR (a mounted bucket or disk). Run it again to go on.
set -euo pipefail

if [ $# -eq 0 ] || [ -z "${TPU:-}" ] || [ -z "${ZONE:-}" ]; then
  echo "usage: TPU=NAME ZONE=ZONE bash $0 --config=FILE --workdir=DIR" >&2
  exit 2
fi
command -v gcloud >/dev/null || {
  echo "error: no gcloud found: install the Google Cloud CLI" >&2
  exit 2
}

# One worker is a machine of its own, with nobody to find.
coordinator=""
[ "${WORKERS:-all}" = 1 ] || coordinator="--coordinator=auto"
exec gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all \
  --command="cd c3_jax && .venv/bin/python -m c3_jax.main $coordinator \
$(printf '%q ' "$@")"
