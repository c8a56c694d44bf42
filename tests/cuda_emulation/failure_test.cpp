// Every call of the CUDA and cuBLASLt API fails once: an Error says so, nothing leaks (ASan), and the device goes on.
#include "cuda_emulation/on_device.hpp"
#include "emulator.hpp"
#include "facellava/cuda/backward_device.hpp"

using namespace facellava;
using namespace facellava::test;

namespace {

// Uploads, products of both ways (fp32 rows, a few rows, a matrix that is widened), own kernels, more shared memory
// than a kernel has unasked, a copy by rows, a download.
std::vector<float> work(cuda::BackwardDevice& dev) {
  const Random<float> x(6, 40, 1, 3), w(24, 40, 2), dy(6, 24, 3);
  OnDevice X(dev, x), Y(dev, dy), D(dev, Random<float>(6, 40, 4)), G(dev, Random<float>(24, 40, 5));
  const StoredOnDevice W(dev, Format::kBf16, w);
  linear(dev, Y.matrix(), X.matrix(), W.matrix(), None{}, None{});
  linear(dev, rows(Y.matrix(), 0, 2), rows(X.matrix(), 0, 2), W.matrix(), None{}, None{});
  linear_dx(dev, D.matrix(), Y.matrix(), W.matrix(), Write::kAssign);
  linear_dw(dev, G.matrix(), None{}, Y.matrix(), X.matrix());
  gelu(dev, X.matrix(), X.matrix());
  copy(dev, rows(X.matrix(), 0, 2), rows(D.matrix(), 2, 2));
  std::vector<float> out = X.get().values, g = G.get().values;
  out.insert(out.end(), g.begin(), g.end());
  return out;
}

// The calls that f makes, of which none may fail.
template <class F>
long count(F f) {
  cuda_emulation::fail_call(0);
  f();
  return cuda_emulation::calls();
}
template <class F>
void check_fails(long call, F f) {
  CAPTURE(call);
  cuda_emulation::fail_call(call);
  CHECK(kind_of(f) == ErrorKind::kDevice);
  cuda_emulation::fail_call(0);
}

}  // namespace

TEST_CASE("a device that cannot be made, whichever call fails") {
  const auto make = [] { cuda::BackwardDevice dev(kSmallDevice); };
  const long calls = count(make);
  CHECK(calls > 5);
  for (long i = 1; i <= calls; ++i) check_fails(i, make);
  make();
}

TEST_CASE("work of which any call fails is an Error, and the next work is right") {
  cuda::BackwardDevice dev(kSmallDevice);
  const std::vector<float> want = work(dev);
  const long calls = count([&] { work(dev); });
  CHECK(calls > 60);
  for (long i = 1; i <= calls; ++i) {
    check_fails(i, [&] { work(dev); });
    CHECK(work(dev) == want);
  }
}
