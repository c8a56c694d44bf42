#!/usr/bin/env bash
# Another processor: cross-compiles the core and its tests for 64-bit Arm and runs them under emulation, on the portable
# path.   usage: tests/aarch64.sh   (BUILD: the build folder)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build/aarch64}
source "$root/cmake/debian_packages.sh"
install_packages g++-aarch64-linux-gnu qemu-user cmake ninja-build libeigen3-dev nlohmann-json3-dev libstb-dev doctest-dev
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE="$root/cmake/aarch64.cmake" \
  -DFACELLAVA_WERROR=ON -DFACELLAVA_CUDA=OFF -DFACELLAVA_VIDEO=OFF -DFACELLAVA_BUILD_TESTS=ON -DFACELLAVA_BUILD_EXAMPLES=OFF
cmake --build "$build" --target test_core test_ref test_cpu test_io test_layers test_models
ctest --test-dir "$build" --output-on-failure -R '^(core|ref|cpu|io|layers|models)$'
