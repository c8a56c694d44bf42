#!/usr/bin/env bash
# Installs what is missing, builds, and runs the main job on a real photograph with the model in this folder.
# BUILD: the build folder; OUT: where the pictures go.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build/demo} out=${OUT:-$root/build/demo/pictures}
source "$root/cmake/debian_packages.sh"
install_packages g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libstb-dev libcli11-dev \
  pkg-config libavformat-dev libavcodec-dev libswscale-dev libavutil-dev libturbojpeg0-dev
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DFACELLAVA_BUILD_TESTS=OFF -DFACELLAVA_CUDA=OFF >/dev/null
cmake --build "$build" --target facellava_demo facellava
"$build/examples/demo/facellava_demo" "$root/examples/demo" "$out"
