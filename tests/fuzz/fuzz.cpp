// The libFuzzer program of one target, FUZZ_TARGET.
#include "targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace facellava::fuzz;
  for (const Target& t : kTargets)
    if (std::string_view(t.name) == FUZZ_TARGET) run_one(t, std::as_bytes(std::span(data, size)));
  return 0;
}
