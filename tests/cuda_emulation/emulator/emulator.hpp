// The emulator of CUDA for tests: kernels run on the CPU, one fiber a CUDA thread, one block at a time, in an order
// that a seed shuffles. This header: what its parts share and what tests may set.
//   include/cuda_runtime.h                   shadows NVIDIA's: what kernels see
//   include/facellava/cuda/shared_memory.cuh shadows the library's: fresh, NaN-filled memory for every block
//   fiber.hpp, fiber.cpp                     stacks, and what sanitizers must know of a switch
//   block.cpp                                blocks, barriers, warp operations
//   runtime.cpp, cublaslt.cpp                stand-ins for cudart and cuBLASLt at link time
// Not emulated: inline PTX, wgmma, mma, TMA, cp.async, cooperative groups, textures, clusters, weak memory order, and
// whatever spins on another thread: fibers do not pre-empt.
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <string>

namespace facellava::cuda_emulation {

// Order of threads, blocks and streams from now on; 0: as numbered.
void set_seed(unsigned seed);
unsigned seed();

// Tells what went wrong, on stderr; the CUDA call or a later one fails.
void report(const std::string& what);

// Call number n of the CUDA and cuBLASLt API from now on fails, counted from 1; 0: none does. What gives back, and the
// questions for errors, are no such calls.
void fail_call(long n);
long calls();  // since then
bool fails();  // of every call, at its start

// Device memory can be touched while one lives, by kernels, copies and library calls only.
struct DeviceAccess {
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

// Whether [p, p + bytes) lies in one live allocation of device memory.
bool in_device(const void* p, std::size_t bytes);

// Queued work runs when something synchronises.
cudaError_t enqueue(cudaStream_t stream, std::function<cudaError_t()> work);

// Runs all blocks of a grid; for the stream's queue.
cudaError_t run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel);

}  // namespace facellava::cuda_emulation
