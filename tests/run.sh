#!/usr/bin/env bash
# Installs what is needed, builds and tests everything.   usage: tests/run.sh [options for cmake...]
# BUILD: the build folder, by default build/tests beside this folder's parent.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build/tests}
source "$root/cmake/debian_packages.sh"
install_packages g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libstb-dev libcli11-dev doctest-dev python3 python3-pip \
  pkg-config libavformat-dev libavcodec-dev libswscale-dev libavutil-dev libturbojpeg0-dev

# Toolkits may come without these two. Where they cannot be had either, the test cuda_budget is skipped.
if command -v nvcc >/dev/null && ! { command -v cuobjdump && command -v nvdisasm; } >/dev/null && [ ! -d "$build/cuda_tools" ]; then
  python3 -m pip install --quiet --no-deps --target "$build/cuda_tools" \
    nvidia-cuda-cuobjdump==13.5.37 nvidia-cuda-nvdisasm==13.5.37 || echo "cuobjdump and nvdisasm could not be installed"
fi

options=()
# The full set of golden tensors, where it stands beside the repository; else the selection in tests/goldens.
[ -d "$root/../shared/goldens/model_tiny" ] && options+=("-DFACELLAVA_GOLDENS=$(cd "$root/../shared/goldens" && pwd)")
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DFACELLAVA_WERROR=ON \
  -DFACELLAVA_BUILD_TESTS=ON -DFACELLAVA_BUILD_EXAMPLES=ON "${options[@]}" "$@"
cmake --build "$build"
ctest --test-dir "$build" -j2 --output-on-failure
