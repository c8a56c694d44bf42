#!/usr/bin/env bash
# Every source file as .clang-format has it.   usage: format.sh REPOSITORY
set -euo pipefail
cd "$1"
format=$(command -v clang-format-14 || command -v clang-format)
find include examples tests -regex '.*\.\(hpp\|cpp\|inl\|cuh\|cu\|h\)' -print0 | xargs -0 "$format" --dry-run -Werror
echo "format: clean"
