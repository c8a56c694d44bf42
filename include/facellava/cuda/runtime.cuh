// What the definitions of the CUDA device stand on: checked calls, owned handles, the device's state, the one way to
// launch a kernel. Host code; any C++20 compiler reads it with the CUDA Toolkit's headers.
#pragma once
#include <cublasLt.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>

#include "facellava/cuda/device.hpp"

namespace facellava::cuda {

// Throw kDevice unless the call succeeded. what: the work that was tried.
inline void check(cudaError_t status, std::string_view what,
                  std::source_location at = std::source_location::current()) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // the host's own next look finds no error of ours, where CUDA lets it be cleared
  throw Error(ErrorKind::kDevice, std::string(what) + ": CUDA says \"" + cudaGetErrorString(status) + "\"", at);
}
inline void check(cublasStatus_t status, std::string_view what,
                  std::source_location at = std::source_location::current()) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorKind::kDevice, std::string(what) + ": cuBLASLt says \"" + cublasLtGetStatusString(status) + "\"",
                at);
}

// A handle that is destroyed on every path.
template <class Handle, auto kDestroy>
struct Owned {
  Handle handle = nullptr;

  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (handle) kDestroy(handle);
  }
  operator Handle() const { return handle; }
};

// Makes a device the calling thread's current one and gives the thread back the one it had.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) {
    check(cudaGetDevice(&before_), "asking for the current device");
    if (before_ != device) {
      check(cudaSetDevice(device), "choosing device " + std::to_string(device));
      changed_ = true;
    }
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  ~CurrentDevice() {
    if (changed_) cudaSetDevice(before_);
  }

 private:
  int before_ = 0;
  bool changed_ = false;
};

// Device memory as std::pmr has it.
class MemoryResource final : public std::pmr::memory_resource {
 public:
  explicit MemoryResource(const int& device) : device_(device) {}

 private:
  void* do_allocate(std::size_t bytes, std::size_t /*alignment*/) override {
    Buffer b(device_, bytes);
    void* const p = b.data();
    buffers_.emplace(p, std::move(b));
    return p;
  }
  void do_deallocate(void* p, std::size_t, std::size_t) override { buffers_.erase(p); }
  bool do_is_equal(const std::pmr::memory_resource& o) const noexcept override { return this == &o; }

  const int& device_;
  std::map<void*, Buffer> buffers_;
};

struct DeviceState {
  int device = 0;
  MemoryResource memory{device};
  int found = 0;  // what was last fetched of the fault word
  Owned<cudaStream_t, cudaStreamDestroy> stream;
  Owned<cublasLtHandle_t, cublasLtDestroy> lt;
  Buffer workspace, scratch, fault;  // fault: cuda/fault.cuh

  int* fault_word() const { return static_cast<int*>(fault.data()); }
};

// A grid of n blocks along x. Error kShape above CUDA's limit.
inline dim3 grid_of(Index n) {
  check_at_most(Index(0x7fffffff), n, "blocks of a kernel", ErrorKind::kShape);
  return dim3(unsigned(n));
}

// Queues kernel(args...) on the device's stream; the device is the current one. what: named in the Error.
template <class... P, class... A>
void launch(const DeviceState& dev, std::string_view what, void (*kernel)(P...), dim3 grid, dim3 block,
            std::size_t shared_bytes, A&&... args) {
  constexpr std::size_t kWithoutAsking = 48 << 10;
  if (shared_bytes > kWithoutAsking)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               int(shared_bytes)),
          what);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = dev.stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...), what);
}

}  // namespace facellava::cuda
