#!/usr/bin/env bash
# Fuzzes every reader with libFuzzer under ASan and UBSan and adds what it found new to the corpus.
# usage: tests/fuzz/run.sh [RUNS a reader, default 1000000] [READER...]      (BUILD: the build folder)
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$root/build/fuzz}
runs=${1:-1000000}
shift || true
readers=("$@")
[ ${#readers[@]} -gt 0 ] || readers=(safetensors torch_bin pickle gguf tokenizer config tflite tfjs image npy pts landmark_json dlib_xml training_data)
source "$root/cmake/debian_packages.sh"
install_packages clang-16 libclang-rt-16-dev libeigen3-dev nlohmann-json3-dev libstb-dev
mkdir -p "$build"
for reader in "${readers[@]}"; do
  clang++-16 -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -DFUZZ_TARGET="\"$reader\"" -I"$root/include" -I"$root/tests" -isystem /usr/include/eigen3 \
    "$root/tests/fuzz/fuzz.cpp" -o "$build/$reader"
  mkdir -p "$build/work/$reader" "$build/findings"
  "$build/$reader" -runs="$runs" -max_len=12000 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$reader-" "$build/work/$reader" "$root/tests/fuzz/corpus/$reader" 2>&1 | tail -12
done
