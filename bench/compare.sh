#!/usr/bin/env bash
# Ours beside PyTorch (and llama.cpp), in turns on the same threads:
#   bash bench/compare.sh [--quick] [--check] [--only WORD...] [--threads N] [--layers 1|4|32] [--json FILE]
#   bash bench/compare.sh --llama-cpp ...    also installs llama-cpp-python, which compiles for some ten minutes
# The build, a virtual environment (PyTorch's default wheel with its CUDA libraries: 5.6 GB) and random weights go to
# build/compare, or where FACELLAVA_COMPARE says.
set -euo pipefail
export PYTHONDONTWRITEBYTECODE=1
root=$(cd "$(dirname "$0")/.." && pwd)
build=${FACELLAVA_COMPARE:-$root/build/compare}
venv=$build/venv
if [ ! -x "$venv/bin/pip" ]; then python3 -m venv "$venv"; fi
"$venv/bin/pip" install --quiet --requirement "$root/bench/peers/requirements.txt"
if [ "${1:-}" = --llama-cpp ]; then
  shift
  "$venv/bin/pip" install --quiet llama-cpp-python gguf
fi
cmake -S "$root" -B "$build/cmake" -DCMAKE_BUILD_TYPE=Release -DFACELLAVA_BUILD_BENCH=ON -DFACELLAVA_BUILD_TESTS=OFF \
      -DFACELLAVA_BUILD_EXAMPLES=OFF > "$build/cmake.log"
cmake --build "$build/cmake" --target bench_model
exec "$venv/bin/python" "$root/bench/peers/compare.py" --bench-model "$build/cmake/bench/bench_model" \
     --work "$build/work" "$@"
