// Shadows <cuda_runtime.h>: kernels written for nvcc compile with a C++20 compiler and run in the emulator. NVIDIA's
// own declarations of the host functions stay; their bodies are in runtime.cpp.
#pragma once
#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <tuple>
#include <type_traits>

#undef __shared__
#define __shared__ static_assert(false, "shared memory is declared in facellava/cuda/shared_memory.cuh only");
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace facellava::cuda_emulation {

using Location = std::source_location;
enum class WarpOp { kShuffle, kBallot, kSync };
struct Words {
  std::uint64_t word[2];
};

void block_barrier(Location at);
// Returns when all lanes of the mask have arrived. kShuffle: the value of lane `source`. kBallot: the lanes whose value
// is not 0. Only kSync orders memory.
Words warp_op(WarpOp op, unsigned mask, Words value, int source, Location at);
int lane();
void* dynamic_shared();
void* shared_array(const void* key, std::size_t bytes);
cudaError_t enqueue_kernel(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> body);
void check_device_pointer(const void* p);

// Pointers and views given to a kernel must be null or point into device memory.
template <class T>
void check_argument(const T& a) {
  if constexpr (std::is_pointer_v<T>)
    check_device_pointer(a);
  else if constexpr (requires { a.data; })
    check_device_pointer(a.data);
}

template <class T>
T shuffle(unsigned mask, T value, int source, Location at) {
  static_assert(sizeof(T) <= sizeof(Words) && std::is_trivially_copyable_v<T>);
  Words words{};
  std::memcpy(&words, &value, sizeof value);
  words = warp_op(WarpOp::kShuffle, mask, words, source, at);
  std::memcpy(&value, &words, sizeof value);
  return value;
}

}  // namespace facellava::cuda_emulation

// ---- what a kernel may call; names and meanings are CUDA's. Lanes outside a shuffle's width give their own value.

inline void __syncthreads(std::source_location at = std::source_location::current()) {
  facellava::cuda_emulation::block_barrier(at);
}
inline void __syncwarp(unsigned mask = ~0u, std::source_location at = std::source_location::current()) {
  facellava::cuda_emulation::warp_op(facellava::cuda_emulation::WarpOp::kSync, mask, {}, -1, at);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              std::source_location at = std::source_location::current()) {
  const int lane = facellava::cuda_emulation::lane();
  return facellava::cuda_emulation::shuffle(mask, value, (lane & ~(width - 1)) | (source & (width - 1)), at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  std::source_location at = std::source_location::current()) {
  const int lane = facellava::cuda_emulation::lane(), source = lane ^ bits;
  return facellava::cuda_emulation::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int by, int width = 32,
                   std::source_location at = std::source_location::current()) {
  const int lane = facellava::cuda_emulation::lane(), source = lane + by;
  return facellava::cuda_emulation::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int by, int width = 32,
                 std::source_location at = std::source_location::current()) {
  const int lane = facellava::cuda_emulation::lane(), source = lane - by;
  return facellava::cuda_emulation::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source, at);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, std::source_location at = std::source_location::current()) {
  using facellava::cuda_emulation::WarpOp;
  return unsigned(
      facellava::cuda_emulation::warp_op(WarpOp::kBallot, mask, {{std::uint64_t(predicate != 0), 0}}, -1, at).word[0]);
}

template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> desired) {
  std::atomic_ref<T>(*p).compare_exchange_strong(expected, desired, std::memory_order_relaxed);
  return expected;
}
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*p).fetch_add(value, std::memory_order_relaxed);
}

using std::max;
using std::min;
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
// Rounded on their own: volatile keeps compilers from fusing the two.
inline float __fmul_rn(float a, float b) {
  const volatile float product = a * b;
  return product;
}
inline float __fadd_rn(float a, float b) {
  const volatile float sum = a + b;
  return sum;
}

// NVIDIA's template by name and signature, so that the library launches as it always does.
template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(P...), A&&... a) {
  std::tuple<P...> arguments(static_cast<P>(a)...);
  std::apply([](const auto&... x) { (facellava::cuda_emulation::check_argument(x), ...); }, arguments);
  return facellava::cuda_emulation::enqueue_kernel(*config, reinterpret_cast<const void*>(kernel),
                                                   [=] { std::apply(kernel, arguments); });
}
