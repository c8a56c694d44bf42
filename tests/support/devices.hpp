// Runs a test body on the reference device and on every CPU level of this machine.
#pragma once
#include <doctest/doctest.h>

#include "facellava/cpu/device.hpp"
#include "facellava/ref/device.hpp"

namespace facellava::test {

// Does nothing with the blocks of a model as they are done.
inline constexpr auto silent = [](int, auto) {};

void on_every_device(auto&& body) {
  {
    INFO("device ref");
    ref::Device dev;
    body(dev);
  }
  for (cpu::Isa isa : cpu::kIsas) {
    if (isa > cpu::best_isa()) continue;
    INFO("device cpu " << cpu::isa_name(isa));
    cpu::Device dev({.threads = 2, .isa = isa});
    body(dev);
  }
}

}  // namespace facellava::test
