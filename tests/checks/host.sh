#!/usr/bin/env bash
# Builds and runs examples/host in every way a program may take the library in; all must give the same answer.
# usage: host.sh SOURCE BUILD CMAKE
set -euo pipefail
source=$1 build=$2 cmake=$3 here=$2/checks/host
rm -rf "$here" && mkdir -p "$here"
"$cmake" --install "$build" --prefix "$here/first" >/dev/null
cp -r "$here/first" "$here/installed"
mv "$here/first" "$here/moved"
expected=
try() {
  local name=$1 folder=$2
  shift 2
  "$cmake" -S "$source/examples/host/$folder" -B "$here/$name" -G Ninja -DCMAKE_BUILD_TYPE=None "-DCMAKE_CXX_FLAGS=-O1" "$@" >/dev/null
  "$cmake" --build "$here/$name"
  local answer
  answer=$("$here/$name/host" "$source/examples/demo/model")
  echo "$name: $answer"
  [ -n "$answer" ] || { echo "no answer"; exit 1; }
  [ "$answer" = "${expected:=$answer}" ] || { echo "expected: $expected"; exit 1; }
}
try find_package find_package "-DCMAKE_PREFIX_PATH=$here/installed"
try moved_prefix find_package "-DCMAKE_PREFIX_PATH=$here/moved"
try add_subdirectory add_subdirectory
try fetch_content fetch_content
try single_header single_header
try static_link static_link
if ldd "$here/static_link/host" >/dev/null 2>&1; then
  echo "the static program needs shared libraries"
  exit 1
fi
