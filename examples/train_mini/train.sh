#!/usr/bin/env bash
# Trains the model of examples/demo from nothing: renders faces, learns a vocabulary, then towers, stage 1 and stage 2.
# usage: train.sh WORK, a new folder; what was done of a run that was stopped stays done.
# BUILD: the build folder with facellava, train_mini_prepare and train_mini_begin; SEED, PICTURES, TOLD, CLIPS: the data.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${BUILD:-$here/../../build/demo}" && pwd)
work=${1:?usage: train.sh WORK}
seed=${SEED:-1} pictures=${PICTURES:-64000} told=${TOLD:-22000} clips=${CLIPS:-2500}
tool=$build/examples/facellava/facellava mini=$build/examples/train_mini
mkdir -p "$work" && cd "$work"

# step NAME COMMAND...: once; how long it took is kept.
step() {
  local name=$1 start=$SECONDS
  shift
  [ -e "done/$name" ] && return
  echo "== $name"
  "$@"
  mkdir -p done && echo "$name $((SECONDS - start)) s" | tee "done/$name" >>times.txt
}
train() {
  local resume=()
  compgen -G "$1/checkpoints/step-*" >/dev/null && resume=(--resume)
  "$tool" train --config "$here/runs/$1.json" "${resume[@]}"
}

step data "$mini/train_mini_prepare" --out data --seed "$seed" --count "$pictures" --told "$told" \
  --clips "$clips"
step vocabulary "$mini/train_mini_begin" vocabulary --data data/data.json --out tokenizer.model
step random "$tool" random --config mini --to random --format f32 --start scaled --seed "$seed" --tokenizer tokenizer.model \
  --settings "$here/settings.json"
step begin "$mini/train_mini_begin" landmarks --model random --run "$here/runs/stage1.json" --to begin
step image_tower train image_tower
step video_begin "$mini/train_mini_begin" video --model image_tower/model --to video_begin
step video_tower train video_tower
step stage1 train stage1
step stage2 train stage2
cat times.txt
echo "the model: $work/stage2/model"
