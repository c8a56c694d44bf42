// Stands in for libcudart at link time: NVIDIA's declarations, bodies on the CPU.
//
// Device memory is a reserved range, inaccessible except while device work runs; an inaccessible page follows each
// allocation, addresses are never used twice, and new memory reads as NaN. Streams are queues that run only when
// something synchronises, the streams in random order.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "emulator.hpp"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

struct CUstream_st {
  std::deque<std::function<cudaError_t()>> queue;
};

namespace facellava::cuda_emulation {
namespace {

void poison([[maybe_unused]] void* p, [[maybe_unused]] std::size_t n) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(p, n);
#endif
}
void unpoison([[maybe_unused]] void* p, [[maybe_unused]] std::size_t n) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(p, n);
#endif
}

const std::size_t kPage = std::size_t(sysconf(_SC_PAGESIZE));
constexpr std::size_t kReserved = std::size_t(64) << 30;
std::size_t whole_pages(std::size_t n) { return (n + kPage - 1) / kPage * kPage; }

struct Machine {
  char* next = nullptr;
  char* end = nullptr;
  std::map<const char*, std::size_t> live;  // allocations
  int access = 0;                           // living DeviceAccess objects
  CUstream_st legacy;
  std::set<CUstream_st*> streams;
  std::map<const void*, int> dynamic_limit;  // of kernels that asked for more shared memory
  std::mt19937 random{1};
  cudaError_t error = cudaSuccess;  // stays, as after a fault on a device

  Machine() {
    void* p = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return;
    next = static_cast<char*>(p);
    end = next + kReserved;
  }
  void protect(int how) {
    for (auto [p, n] : live) mprotect(const_cast<char*>(p), whole_pages(n), how);
  }
};
Machine& machine() {
  static Machine m;
  return m;
}
CUstream_st& stream_of(cudaStream_t s) { return s ? *s : machine().legacy; }

void step(CUstream_st& s) {
  const auto work = std::move(s.queue.front());
  s.queue.pop_front();
  if (machine().error == cudaSuccess) machine().error = work();
}
cudaError_t drain(CUstream_st& s) {
  while (!s.queue.empty()) step(s);
  return machine().error;
}
cudaError_t drain_all() {
  Machine& m = machine();
  for (;;) {
    std::vector<CUstream_st*> busy;
    if (!m.legacy.queue.empty()) busy.push_back(&m.legacy);
    for (auto* s : m.streams)
      if (!s->queue.empty()) busy.push_back(s);
    if (busy.empty()) return m.error;
    step(*busy[m.random() % busy.size()]);
  }
}

// Rows of a copy: bytes from the first to behind the last.
std::size_t extent(std::size_t step, std::size_t width, std::size_t height) {
  return height == 0 || width == 0 ? 0 : (height - 1) * step + width;
}

cudaError_t copy(void* to, std::size_t to_step, const void* from, std::size_t from_step, std::size_t width,
                 std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  const std::size_t to_bytes = extent(to_step, width, height), from_bytes = extent(from_step, width, height);
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice,
             from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if ((height > 1 && (to_step < width || from_step < width)) || in_device(to, to_bytes) != to_device ||
      in_device(from, from_bytes) != from_device) {
    report("copy: its kind does not match the pointers, its rows overlap, or it leaves an allocation");
    return cudaErrorInvalidValue;
  }
  if (!to_device)  // reading the result before synchronising faults under ASan
    for (std::size_t r = 0; r < height; ++r) poison(static_cast<char*>(to) + r * to_step, width);
  return enqueue(stream, [=] {
    const DeviceAccess access;
    for (std::size_t r = 0; r < height; ++r) {
      char* row = static_cast<char*>(to) + r * to_step;
      if (!to_device) unpoison(row, width);
      std::memcpy(row, static_cast<const char*>(from) + r * from_step, width);
    }
    return cudaSuccess;
  });
}

}  // namespace

DeviceAccess::DeviceAccess() {
  if (machine().access++ == 0) machine().protect(PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
  if (--machine().access == 0) machine().protect(PROT_NONE);
}

bool in_device(const void* p, std::size_t bytes) {
  const auto* c = static_cast<const char*>(p);
  auto it = machine().live.upper_bound(c);
  if (it == machine().live.begin()) return false;
  --it;
  const auto offset = std::size_t(c - it->first);
  return offset <= it->second && bytes <= it->second - offset;
}

void check_device_pointer(const void* p) {
  if (!p || in_device(p, 1)) return;
  report("a kernel's argument points to host or freed memory");
  machine().error = cudaErrorIllegalAddress;
}

cudaError_t enqueue(cudaStream_t stream, std::function<cudaError_t()> work) {
  stream_of(stream).queue.push_back(std::move(work));
  return machine().error;
}

cudaError_t enqueue_kernel(const cudaLaunchConfig_t& c, const void* kernel, std::function<void()> body) {
  if (fails()) return cudaErrorUnknown;
  const dim3 g = c.gridDim, b = c.blockDim;
  const std::size_t threads = std::size_t(b.x) * b.y * b.z;
  if (threads == 0 || threads > 1024 || g.x == 0 || g.x > 0x7fffffffu || g.y == 0 || g.y > 65535 || g.z == 0 ||
      g.z > 65535)
    return cudaErrorInvalidConfiguration;
  const auto asked = machine().dynamic_limit.find(kernel);
  const int limit = asked == machine().dynamic_limit.end() ? 48 << 10 : asked->second;
  if (c.dynamicSmemBytes > std::size_t(limit)) return cudaErrorInvalidValue;
  return enqueue(c.stream, [=, body = std::move(body)] { return run_grid(g, b, c.dynamicSmemBytes, body); });
}

namespace {
long failing = 0, called = 0;
}
void fail_call(long n) {
  failing = n;
  called = 0;
}
long calls() { return called; }
bool fails() { return ++called == failing; }

}  // namespace facellava::cuda_emulation

using namespace facellava::cuda_emulation;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  if (fails()) return cudaErrorUnknown;
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  if (fails()) return cudaErrorUnknown;
  *free = *total = std::size_t(1) << 30;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  if (fails()) return cudaErrorUnknown;
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

cudaError_t cudaMalloc(void** p, size_t bytes) {
  if (fails()) return cudaErrorUnknown;
  Machine& m = machine();
  const std::size_t size = std::max<std::size_t>(bytes, 1);
  if (size > std::size_t(m.end - m.next) - kPage || whole_pages(size) + kPage > std::size_t(m.end - m.next))
    return cudaErrorMemoryAllocation;
  char* data = m.next;
  m.next += whole_pages(size) + kPage;
  mprotect(data, whole_pages(size), PROT_READ | PROT_WRITE);
  std::memset(data, 0xff, size);
  if (m.access == 0) mprotect(data, whole_pages(size), PROT_NONE);
  poison(data + size, whole_pages(size) - size);
  m.live[data] = size;
  *p = data;
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  if (!p) return cudaSuccess;
  drain_all();
  Machine& m = machine();
  const auto it = m.live.find(static_cast<char*>(p));
  if (it == m.live.end()) {
    report("cudaFree of something that cudaMalloc did not give");
    return cudaErrorInvalidValue;
  }
  madvise(p, whole_pages(it->second), MADV_DONTNEED);
  mprotect(p, whole_pages(it->second), PROT_NONE);
  m.live.erase(it);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (fails()) return cudaErrorUnknown;
  return copy(to, bytes, from, bytes, bytes, 1, kind, stream);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_step, const void* from, size_t from_step, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  if (fails()) return cudaErrorUnknown;
  return copy(to, to_step, from, from_step, width, height, kind, stream);
}
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t stream) {
  if (fails()) return cudaErrorUnknown;
  if (!in_device(p, bytes)) return cudaErrorInvalidValue;
  return enqueue(stream, [=] {
    const DeviceAccess access;
    std::memset(p, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  if (fails()) return cudaErrorUnknown;
  *stream = new CUstream_st;
  machine().streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  drain(*stream);
  machine().streams.erase(stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const cudaError_t done = drain(stream_of(stream));  // a copy that stays queued could outlive what it copies
  return fails() ? cudaErrorUnknown : done;
}
cudaError_t cudaDeviceSynchronize() { return drain_all(); }

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (fails()) return cudaErrorUnknown;
  constexpr int kMost = 99 << 10;  // what every architecture from sm_80 on has
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value > kMost) return cudaErrorInvalidValue;
  machine().dynamic_limit[kernel] = value;
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return machine().error; }
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess: return "no error";
    case cudaErrorLaunchFailure: return "launch failure (emulated)";
    case cudaErrorIllegalAddress: return "illegal address (emulated)";
    case cudaErrorMemoryAllocation: return "out of memory (emulated)";
    case cudaErrorInvalidValue: return "invalid value (emulated)";
    default: return "error (emulated)";
  }
}

}  // extern "C"
