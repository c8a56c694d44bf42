#!/usr/bin/env bash
# Installs what is missing, builds, and asks a small model about faces.
#   bash examples/demo.sh            a photograph, and a rendered clip
#   bash examples/demo.sh FILE       a photograph or a video of yours
#   bash examples/demo.sh --fake     a rendered face beside a face swap of it
# BUILD: the build folder; OUT: where the pictures go. More options: --help.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$root/build/demo} out=${OUT:-$root/build/demo/pictures}
source "$root/cmake/debian_packages.sh"
install_packages g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libstb-dev libcli11-dev \
  pkg-config libavformat-dev libavcodec-dev libswscale-dev libavutil-dev libturbojpeg0-dev
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DFACELLAVA_BUILD_TESTS=OFF -DFACELLAVA_CUDA=OFF >/dev/null
cmake --build "$build" --target facellava_demo facellava
"$build/examples/demo/facellava_demo" "$root/examples/demo" "$out" "$@"
