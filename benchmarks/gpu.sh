#!/usr/bin/env bash
# Everything worth measuring on one GPU in ten minutes, the best first:
#   bash benchmarks/gpu.sh OUT [PACKED.npz]
# Each part leaves OUT/PART.json as soon as it has it, and OUT/PART.log; one that
# fails or has no time left is a line, and the next one follows. PACKED.npz, of
# `python -m c3_jax.pack` at --config.data.load_size=160, is trained on for the
# rest of the time. The parts that compare with PyTorch need it; nothing needs
# TensorFlow or clu.
#
# PYTHON is the interpreter, SECONDS_IN_ALL the time (600). TINY=1 runs small
# sizes, for a look at the script itself on a CPU.
set -uo pipefail
out="$(mkdir -p "${1:?usage: gpu.sh OUT [PACKED.npz]}" && cd "$1" && pwd)"
packed="${2:+$(realpath "$2")}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-.venv/bin/python}"
end=$((SECONDS + ${SECONDS_IN_ALL:-600}))

# part NAME LIMIT MODULE ARGUMENTS: runs a program for at most LIMIT seconds.
part() {
  local name="$1" limit="$2" left=$((end - SECONDS)) start=$SECONDS status
  shift 2
  if [ "$left" -lt 10 ]; then
    echo "$name: no time left"
    return
  fi
  # TERM first: training saves.
  timeout -k 20 "$((limit < left ? limit : left))" "$python" -m "$@" \
    >"$out/$name.log" 2>&1
  status=$?
  echo "$name: status $status after $((SECONDS - start)) s"
}

# step NAME DTYPE BATCH FLAGS: speed, memory, share of the matrix rate, by part.
step() {
  local name="$1" dtype="$2" batch="$3"
  shift 3
  part "$name" 100 c3_jax.benchmark --config="$paper" --batch="$batch" \
    --only=train --config.model.dtype="$dtype" --out="$out/$name.json" "$@"
}

if [ -n "${TINY:-}" ]; then
  paper=configs/celeba.py:test,stages=cycle mine=configs/folder.py:test
  conv=(--images=2 --side=8 --shrink=32 --rounds=1)
  peer=(--size 32 --blocks 1 1 1 1 --rounds 1) peers=(eager)
  few=2 many=2 batches=() half=float32  # bfloat16 is slow on a CPU.
else
  paper=configs/celeba.py:stages=cycle mine=configs/folder.py
  conv=() peer=(--calls 5) peers=(eager compiled)
  few=50 many=256 batches=(50 100 200) half=bfloat16
fi
peer+=(--peer "${peers[@]}")

part dilated_conv 60 benchmarks.dilated_conv --out="$out/dilated_conv.json" \
  "${conv[@]}"
step "step_${half}_$few" "$half" "$few"
part "peer_$half" 180 benchmarks.torch_peer --batch "$few" --dtype="$half" \
  --out="$out/peer_$half.json" "${peer[@]}"
part "predict_$half" 60 c3_jax.benchmark --config="$paper" --batch="$many" \
  --only=predict --config.model.dtype="$half" --out="$out/predict_$half.json"
for batch in "${batches[@]}"; do
  for dtype in bfloat16 float32; do
    [ "$dtype $batch" = "$half $few" ] || step "step_${dtype}_$batch" \
      "$dtype" "$batch"
  done
done
if [ -z "${TINY:-}" ]; then
  step "step_remat_${batches[-1]}" bfloat16 "${batches[-1]}" \
    --config.remat=True
  part flow 60 c3_jax.benchmark --config="$paper" --only=flow \
    --out="$out/flow.json"
  part peer_float32 180 benchmarks.torch_peer --batch "$few" \
    --out="$out/peer_float32.json" "${peer[@]}"
fi
if [ -n "$packed" ]; then
  part train 600 c3_jax.main --config="$mine" --mode=train \
    --workdir="$out/train" --config.data.name=packed \
    --config.data.packed.train="$packed" --config.model.dtype="$half" \
    ${TINY:+--config.stages.flow.steps=0 --config.stages.cycle.steps=0}
  tail -n 1 "$out/train/metrics.jsonl" >"$out/train.json" 2>/dev/null
fi
echo "Numbers: $out/*.json"
