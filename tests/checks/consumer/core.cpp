// The core alone: a compiler and Eigen.
#include <cstdio>
#include <vector>

#include "facellava/cpu/device.hpp"
#include "facellava/models/configs.hpp"
#include "facellava/models/face_llava.hpp"

int main() {
  using namespace facellava;
  std::vector<float> x{3, 4}, w{1, 1}, y(2), rstd(1);
  cpu::Device dev;
  rms_norm(dev, View<float, Host, kDyn, 2>(y.data(), 1), View<float, Host, kDyn>(rstd.data(), 1),
           View<const float, Host, kDyn, 2>(x.data(), 1), View<const float, Host, 2>(w.data()), 0.f);
  std::printf("%f %f\n", double(y[0]), double(y[1]));
  const float want = 3 / std::sqrt(12.5f);
  return std::abs(y[0] - want) < 1e-6f && FaceLlava<configs::kFaceLlava7B>::kDim == 4096 ? 0 : 1;
}
