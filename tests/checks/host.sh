#!/usr/bin/env bash
# Builds and runs examples/host in every way a program may take the library in; all must give the same answer.
# usage: host.sh SOURCE BUILD CMAKE
set -euo pipefail
source=$1 build=$2 cmake=$3 here=$2/checks/host
rm -rf "$here" && mkdir -p "$here"
"$cmake" --install "$build" --prefix "$here/first" >/dev/null
cp -r "$here/first" "$here/installed"
mv "$here/first" "$here/moved"
# Each is one compiler process: two at a time.
ways=()
try() {
  local name=$1 folder=$2
  shift 2
  ways+=("$name")
  while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n; done
  {
    "$cmake" -S "$source/examples/host/$folder" -B "$here/$name" -G Ninja -DCMAKE_BUILD_TYPE=None "$@" &&
      "$cmake" --build "$here/$name" && "$here/$name/host" "$source/examples/demo/model" >"$here/$name.answer"
  } >"$here/$name.log" 2>&1 || { cat "$here/$name.log"; exit 1; } &
}
try find_package find_package "-DCMAKE_PREFIX_PATH=$here/installed"
try moved_prefix find_package "-DCMAKE_PREFIX_PATH=$here/moved"
try add_subdirectory add_subdirectory
try fetch_content fetch_content
try single_header single_header
try static_link static_link
while [ "$(jobs -rp | wc -l)" -gt 0 ]; do wait -n; done
for way in "${ways[@]}"; do
  answer=$(cat "$here/$way.answer")
  echo "$way: $answer"
  [ -n "$answer" ] || { echo "no answer"; exit 1; }
  [ "$answer" = "${expected:=$answer}" ] || { echo "expected: $expected"; exit 1; }
done
if ldd "$here/static_link/host" >/dev/null 2>&1; then
  echo "the static program needs shared libraries"
  exit 1
fi
