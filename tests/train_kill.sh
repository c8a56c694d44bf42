#!/usr/bin/env bash
# Kills a run of training at random moments, goes on each time, and compares what comes out with a run that was left
# alone.   usage: tests/train_kill.sh TOOL GOLDENS [KILLS, default 50] [SEED]
set -euo pipefail
tool=$(realpath "$1") goldens=$(realpath "$2") kills=${3:-50}
RANDOM=${4:-7}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

record() { # face, question
  printf '{"image": "%s/preprocess/inputs/face_%s_256.png", "landmarks_2d": "%s/landmarks/image_face_%s_256.npy",
    "conversations": [{"from": "human", "value": "<image>\\n%s"}, {"from": "gpt", "value": "About thirty."}]}' \
    "$goldens" "$1" "$goldens" "$1" "$2"
}
printf '[%s,\n%s,\n%s]\n' "$(record a 'How old?')" "$(record a 'And now?')" "$(record b 'Guess the age.')" >data.json
run() { # output
  printf '{"model": "%s/model_tiny/ckpt_bin_fp16", "tower_heads": 4, "data": "data.json", "output": "%s", "steps": %d,
    "batch_size": 2, "pack": 2, "save_every": 2, "learning_rate": 1e-3}' "$goldens" "$1" $((kills * 12)) >"$1.json"
}
run whole
run parts
"$tool" train --config whole.json --quiet

killed=0
while ((killed < kills)); do
  resume=()
  compgen -G 'parts/checkpoints/step-*' >/dev/null && resume=(--resume)
  "$tool" train --config parts.json --quiet "${resume[@]}" &
  sleep "$(printf '0.%03d' $((100 + RANDOM % 800)))"
  if ! kill -9 $! 2>/dev/null; then
    wait $! && echo "the run ended after $killed kills: it is too short" >&2
    exit 1
  fi
  wait $! 2>/dev/null || true
  killed=$((killed + 1))
  for checkpoint in parts/checkpoints/step-*; do
    [[ -e $checkpoint ]] || continue
    [[ -s $checkpoint/state.json && -s $checkpoint/state.safetensors ]] || { echo "torn: $checkpoint" >&2; exit 1; }
  done
done
reached=$(ls parts/checkpoints | tail -n 1)
"$tool" train --config parts.json --quiet --resume
for file in model/model.safetensors "checkpoints/step-$(printf %08d $((kills * 12)))/state.safetensors"; do
  cmp "whole/$file" "parts/$file"
done
[[ $(wc -l <whole/metrics.jsonl) -eq $(wc -l <parts/metrics.jsonl) ]]
echo "killed $killed times, the last at $reached of $((kills * 12)) steps: the same bits as the run that was left alone"
