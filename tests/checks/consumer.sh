#!/usr/bin/env bash
# Installs the package, moves the prefix, builds another project against it and runs that.   usage: consumer.sh SOURCE BUILD CMAKE
set -euo pipefail
source=$1 build=$2 cmake=$3 here=$2/checks/consumer
rm -rf "$here" && mkdir -p "$here"
"$cmake" --install "$build" --prefix "$here/first" >/dev/null
mv "$here/first" "$here/prefix"
"$cmake" -S "$source/tests/checks/consumer" -B "$here/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$here/prefix"
"$cmake" --build "$here/build"
ctest --test-dir "$here/build" --output-on-failure
