// Reductions over warps and blocks.
#include "facellava/cuda/warp.cuh"

#include <doctest/doctest.h>

#include "facellava/cuda/runtime.cuh"

using namespace facellava;
using namespace facellava::cuda;

namespace {

// Two reductions in a row: the second must not disturb the first's parts. Sums of whole numbers are exact.
__global__ void reduce_twice_kernel(float* sums, float* tops) {
  const float mine = float(threadIdx.x * 7 % 31);
  const float sum = block_reduce(mine, Sum{}, 0.f), top = block_reduce(mine + sum, Max{}, -INFINITY);
  sums[threadIdx.x] = sum;
  tops[threadIdx.x] = top;
}

}  // namespace

TEST_CASE("block_reduce: every thread gets the result, twice in a row, at every number of warps") {
  DeviceState dev;
  check(cudaStreamCreateWithFlags(&dev.stream.handle, cudaStreamNonBlocking), "stream");
  for (unsigned threads : {32u, 64u, 224u, 1024u}) {
    CAPTURE(threads);
    const std::size_t bytes = threads * sizeof(float);
    const Buffer sums(0, bytes), tops(0, bytes);
    launch(dev, "reduce", reduce_twice_kernel, dim3(1), dim3(threads), 0, static_cast<float*>(sums.data()),
           static_cast<float*>(tops.data()));
    std::vector<float> s(threads), t(threads);
    check(cudaMemcpyAsync(s.data(), sums.data(), bytes, cudaMemcpyDeviceToHost, dev.stream), "download");
    check(cudaMemcpyAsync(t.data(), tops.data(), bytes, cudaMemcpyDeviceToHost, dev.stream), "download");
    check(cudaStreamSynchronize(dev.stream), "download");
    float sum = 0, top = 0;
    for (unsigned i = 0; i < threads; ++i) {
      sum += float(i * 7 % 31);
      top = std::max(top, float(i * 7 % 31));
    }
    CHECK(s == std::vector<float>(threads, sum));
    CHECK(t == std::vector<float>(threads, sum + top));
  }
}
