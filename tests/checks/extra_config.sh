#!/usr/bin/env bash
# A checkpoint that the tool is not compiled for: the error says what to do, doing it makes the tool answer.
# usage: extra_config.sh SOURCE BUILD CMAKE GOLDENS
set -euo pipefail
source=$1 build=$2 cmake=$3 goldens=$4 here=$2/checks/extra_config
rm -rf "$here" && mkdir -p "$here"
python3 "$source/tests/checks/make_other_model.py" "$goldens/model_tiny/ckpt_safetensors_bf16" "$here/other-model"
tool=$build/examples/facellava/facellava
if "$tool" ask --model "$here/other-model" --question hello >"$here/out" 2>&1; then
  echo "the tool ran a geometry that it does not have" && exit 1
fi
grep -q "facellava config --from" "$here/out" && grep -q "FACELLAVA_EXTRA_CONFIGS" "$here/out"
if "$tool" config --from "$here/other-model" >"$here/out" 2>&1; then
  echo "the tool guessed a number of heads" && exit 1
fi
grep -q -- "--tower-heads" "$here/out"
"$tool" config --from "$here/other-model" --tower-heads 4 >"$here/other_model.hpp"
"$cmake" -S "$source" -B "$here/build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG= -DFACELLAVA_BUILD_TESTS=OFF -DFACELLAVA_CUDA=OFF \
  -DFACELLAVA_TOOL_CONFIGS= "-DFACELLAVA_EXTRA_CONFIGS=$here/other_model.hpp"
"$cmake" --build "$here/build" --target facellava
cat >"$here/requests.json" <<JSON
[{"question": "What is an action unit?"},
 {"question": "How old?", "images": ["$goldens/preprocess/image_face_a_256.safetensors:pixel_values"],
  "landmarks": ["$goldens/landmarks/image_face_a_256.npy"]}]
JSON
"$here/build/examples/facellava/facellava" ask --model "$here/other-model" --requests "$here/requests.json" --json --max-new-tokens 4 \
  --dump "$here/dump.safetensors" >"$here/answers.json"
python3 - "$here/answers.json" <<'PY'
import json, sys
answers = json.load(open(sys.argv[1]))
assert [a["landmarks_used"] for a in answers] == [False, True], answers
assert all(a["config"] == "other_model" and 1 <= len(a["generated_ids"]) <= 4 for a in answers), answers
PY
