# Warnings of our own programs; hosts of the headers choose theirs.
add_library(facellava_warnings INTERFACE)
target_compile_options(facellava_warnings INTERFACE -Wall -Wextra -Wpedantic $<$<CXX_COMPILER_ID:GNU>:-Wshadow=local>
                                                    $<$<BOOL:${FACELLAVA_WERROR}>:-Werror>)
