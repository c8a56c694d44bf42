# Warnings of our own programs; hosts of the headers choose theirs.
# -Wno-restrict: g++ 12 reports joins of std::string in its own headers (GCC bug 105651).
add_library(facellava_warnings INTERFACE)
target_compile_options(
  facellava_warnings INTERFACE -Wall -Wextra -Wpedantic $<$<CXX_COMPILER_ID:GNU>:-Wshadow=local;-Wno-restrict>
                               $<$<BOOL:${FACELLAVA_WERROR}>:-Werror>)
