#include "open_model.hpp"

#include "facellava/cpu/device.hpp"

facellava::run::Pipeline train_mini::open_model(const facellava::run::ModelFolder& folder, int threads) {
  using namespace facellava;
  return run::open_pipeline<kConfig, cpu::Device>(folder, {}, cpu::Options{.threads = threads});
}
