// The emulator is tested itself: each bug below is planted in a kernel or in host code, run in a process of its own,
// and must be caught, for the right reason, by the modes named in the table. A clean twin must pass.
#include "emulator.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <vector>

#include "facellava/cuda/matmul.cuh"
#include "facellava/cuda/shared_memory.cuh"

using namespace facellava;
using namespace facellava::cuda;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr char kMode = 'a';
#elif defined(__SANITIZE_THREAD__)
constexpr char kMode = 't';
#else
constexpr char kMode = 'p';
#endif

constexpr int kCount = 64;

// A stream, and kCount floats 0, 1, 2, ... on the device.
struct Rig {
  DeviceState dev;
  Buffer memory{0, kCount * sizeof(float)};
  std::vector<float> host = std::vector<float>(kCount);

  Rig() {
    check(cudaStreamCreateWithFlags(&dev.stream.handle, cudaStreamNonBlocking), "rig");
    for (int i = 0; i < kCount; ++i) host[std::size_t(i)] = float(i);
    check(cudaMemcpyAsync(x(), host.data(), memory.size(), cudaMemcpyHostToDevice, dev.stream), "rig");
    wait();
  }
  float* x() const { return static_cast<float*>(memory.data()); }
  void wait() const { check(cudaStreamSynchronize(dev.stream), "rig"); }
  std::vector<float> get() const {
    std::vector<float> now(kCount);
    check(cudaMemcpyAsync(now.data(), x(), memory.size(), cudaMemcpyDeviceToHost, dev.stream), "rig");
    wait();
    return now;
  }
};

enum class Bug { kNone, kNoBarrier, kSharedIndex, kGlobalIndex, kBarrierInBranch, kExitBeforeBarrier };

// x reversed, through shared memory. One block.
__global__ void reverse_kernel(float* x, int n, Bug bug) {
  float* s = dynamic_shared<float>();
  const int t = int(threadIdx.x);
  s[t] = x[t];
  if (bug == Bug::kExitBeforeBarrier && t == 5) return;
  if (bug == Bug::kBarrierInBranch) {
    if (t < 16)
      __syncthreads();
    else
      __syncthreads();
  } else if (bug != Bug::kNoBarrier) {
    __syncthreads();
  }
  x[t + (bug == Bug::kGlobalIndex)] = s[n - 1 - t + (bug == Bug::kSharedIndex)];
}
void reverse(Bug bug) {
  Rig rig;
  launch(rig.dev, "reverse", reverse_kernel, dim3(1), dim3(kCount), kCount * sizeof(float), rig.x(), kCount, bug);
  const auto now = rig.get();
  for (int i = 0; i < kCount; ++i) CHECK(now[std::size_t(i)] == rig.host[std::size_t(kCount - 1 - i)]);
}

__global__ void divergent_shuffle_kernel(float* x) {
  float v = x[threadIdx.x];
  if (threadIdx.x < 16) v += __shfl_down_sync(~0u, v, 8);
  x[threadIdx.x] = v;
}
__global__ void shuffle_outside_mask_kernel(float* x) {
  x[threadIdx.x] = __shfl_sync(threadIdx.x < 16 ? 0xffffu : 0xffff0000u, x[threadIdx.x], 20);
}
__global__ void uninitialised_kernel(float* x) {
  x[threadIdx.x] = shared_array<struct Uninitialised, float, kCount>()[threadIdx.x];
}
__global__ void block_race_kernel(float* x) { x[0] = x[0] + 1; }
__global__ void warp_synchronous_kernel(float* x) {  // as if lanes ran in step
  float* s = shared_array<struct WarpSynchronous, float, kCount>();
  s[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = s[31 - threadIdx.x];
}
__global__ void count_without_atomics_kernel(float* x) {
  float* s = shared_array<struct Counter, float, 1>();
  if (threadIdx.x == 0) s[0] = 0;
  __syncthreads();
  s[0] += 1;
  __syncthreads();
  x[threadIdx.x] = s[0];
}
__global__ void misaligned_kernel(float* x) { *reinterpret_cast<float4*>(x + 1) = float4{1, 2, 3, 4}; }

}  // namespace

TEST_CASE("planted: nothing" * doctest::skip()) { reverse(Bug::kNone); }
TEST_CASE("planted: a missing barrier" * doctest::skip()) { reverse(Bug::kNoBarrier); }
TEST_CASE("planted: a shared index out of range" * doctest::skip()) { reverse(Bug::kSharedIndex); }
TEST_CASE("planted: a global index out of range" * doctest::skip()) { reverse(Bug::kGlobalIndex); }
TEST_CASE("planted: a barrier in a branch" * doctest::skip()) { reverse(Bug::kBarrierInBranch); }
TEST_CASE("planted: an exit before a barrier" * doctest::skip()) { reverse(Bug::kExitBeforeBarrier); }
TEST_CASE("planted: a divergent shuffle" * doctest::skip()) {
  Rig rig;
  launch(rig.dev, "kernel", divergent_shuffle_kernel, dim3(1), dim3(32), 0, rig.x());
  rig.get();
}
TEST_CASE("planted: a shuffle from outside its mask" * doctest::skip()) {
  Rig rig;
  launch(rig.dev, "kernel", shuffle_outside_mask_kernel, dim3(1), dim3(32), 0, rig.x());
  rig.get();
}
TEST_CASE("planted: uninitialised shared memory" * doctest::skip()) {
  Rig rig;
  launch(rig.dev, "kernel", uninitialised_kernel, dim3(1), dim3(kCount), 0, rig.x());
  for (float v : rig.get()) CHECK(v == 0);
}
TEST_CASE("planted: a race between blocks" * doctest::skip()) {
  Rig rig;
  launch(rig.dev, "kernel", block_race_kernel, dim3(8), dim3(1), 0, rig.x());
  CHECK(rig.get()[0] == 8);
}
TEST_CASE("planted: trust in lanes that run in step" * doctest::skip()) {
  Rig rig;
  launch(rig.dev, "kernel", warp_synchronous_kernel, dim3(1), dim3(32), 0, rig.x());
  const auto now = rig.get();
  for (std::size_t i = 0; i < 32; ++i) CHECK(now[i] == rig.host[31 - i]);
}
TEST_CASE("planted: the host reads device memory" * doctest::skip()) {
  Rig rig;
  CHECK(*static_cast<volatile float*>(rig.x()) == 0);
}
TEST_CASE("planted: a kernel is given host memory" * doctest::skip()) {
  Rig rig;
  launch(rig.dev, "kernel", block_race_kernel, dim3(1), dim3(1), 0, rig.host.data());
  rig.wait();
}
TEST_CASE("planted: a result is read before the stream is done" * doctest::skip()) {
  Rig rig;
  std::vector<float> now(kCount, -1.f);
  check(cudaMemcpyAsync(now.data(), rig.x(), rig.memory.size(), cudaMemcpyDeviceToHost, rig.dev.stream), "rig");
  CHECK(now[3] == 3);
}
TEST_CASE("planted: a freed buffer is used" * doctest::skip()) {
  Rig rig;
  float* x = rig.x();
  { const Buffer gone = std::move(rig.memory); }
  launch(rig.dev, "kernel", block_race_kernel, dim3(1), dim3(1), 0, x);
  rig.wait();
}
TEST_CASE("planted: a product reads beyond its operand" * doctest::skip()) {
  Rig rig;
  check(cublasLtCreate(&rig.dev.lt.handle), "rig");
  const Buffer y(0, kCount * sizeof(float));
  matmul(rig.dev, {.y = static_cast<float*>(y.data()),
                   .x = rig.x(),
                   .w = rig.x(),
                   .bias = nullptr,
                   .residual = nullptr,
                   .rows = 4,
                   .out = 4,
                   .in = 8,
                   .y_stride = 4,
                   .x_stride = 24,
                   .w_stride = 8,
                   .residual_stride = 0});
  rig.wait();
}
TEST_CASE("planted: a race within a block" * doctest::skip()) {
  Rig rig;
  launch(rig.dev, "kernel", count_without_atomics_kernel, dim3(1), dim3(kCount), 0, rig.x());
  CHECK(rig.get()[0] == kCount);
}
TEST_CASE("planted: a wide access off its alignment" * doctest::skip()) {
  Rig rig;
  launch(rig.dev, "kernel", misaligned_kernel, dim3(1), dim3(1), 0, rig.x());
  rig.wait();
}
TEST_CASE("planted: more shared memory than a block has" * doctest::skip()) {
  Rig rig;
  launch(rig.dev, "reverse", reverse_kernel, dim3(1), dim3(kCount), std::size_t(120) << 10, rig.x(), kCount,
         Bug::kNone);
}
TEST_CASE("planted: a block of too many threads" * doctest::skip()) {
  Rig rig;
  launch(rig.dev, "kernel", block_race_kernel, dim3(1), dim3(2048), 0, rig.x());
}
TEST_CASE("planted: a copy beyond its buffer" * doctest::skip()) {
  Rig rig;
  const std::vector<float> longer(kCount + 1);
  check(cudaMemcpyAsync(rig.x(), longer.data(), longer.size() * sizeof(float), cudaMemcpyHostToDevice, rig.dev.stream),
        "rig");
}
TEST_CASE("planted: a buffer is freed twice" * doctest::skip()) {
  void* p = nullptr;
  check(cudaMalloc(&p, 64), "rig");
  check(cudaFree(p), "rig");
  check(cudaFree(p), "rig");
}
TEST_CASE("planted: uninitialised device memory" * doctest::skip()) {
  Rig rig;
  rig.memory = Buffer(0, kCount * sizeof(float));
  for (float v : rig.get()) CHECK(v == 0);
}
TEST_CASE("planted: a stream that does not wait for another" * doctest::skip()) {
  Rig rig, other;
  launch(rig.dev, "reverse", reverse_kernel, dim3(1), dim3(kCount), kCount * sizeof(float), rig.x(), kCount,
         Bug::kNone);
  std::vector<float> now(kCount);
  check(cudaMemcpyAsync(now.data(), rig.x(), rig.memory.size(), cudaMemcpyDeviceToHost, other.dev.stream), "rig");
  other.wait();
  CHECK(now[0] == kCount - 1);
}

namespace {

struct Planted {
  const char* name;
  // What the output must say in the modes plain, ASan + UBSan, TSan; "" where that mode cannot see it.
  const char *plain, *asan, *tsan;
};
const Planted kPlanted[] = {
    {"a missing barrier", "ERROR: CHECK", "ERROR: CHECK", "data race"},
    {"a shared index out of range", "ERROR: CHECK", "AddressSanitizer: use-after-poison", "ERROR: CHECK"},
    {"a global index out of range", "ERROR: CHECK", "AddressSanitizer: use-after-poison", "ERROR: CHECK"},
    {"a barrier in a branch", "divergent __syncthreads", "divergent __syncthreads", "divergent __syncthreads"},
    {"an exit before a barrier", "left the kernel", "left the kernel", "left the kernel"},
    {"a divergent shuffle", "left the kernel", "left the kernel", "left the kernel"},
    {"a shuffle from outside its mask", "not in its mask", "not in its mask", "not in its mask"},
    {"uninitialised shared memory", "ERROR: CHECK", "ERROR: CHECK", "ERROR: CHECK"},
    {"a race between blocks", "", "", "data race"},
    {"trust in lanes that run in step", "ERROR: CHECK", "ERROR: CHECK", "data race"},
    {"the host reads device memory", "SIGSEGV", "AddressSanitizer: SEGV", "SIGSEGV|handleSignal"},
    {"a kernel is given host memory", "host or freed memory", "host or freed memory", "host or freed memory"},
    {"a result is read before the stream is done", "ERROR: CHECK", "AddressSanitizer: use-after-poison",
     "ERROR: CHECK|heap-use-after-free"},  // or the copy that comes too late
    {"a freed buffer is used", "host or freed memory", "host or freed memory", "host or freed memory"},
    {"a product reads beyond its operand", "leaves its device allocation", "leaves its device allocation",
     "leaves its device allocation"},
    {"a race within a block", "", "", "data race"},
    {"a wide access off its alignment", "", "misaligned address", ""},
    {"more shared memory than a block has", "invalid value", "invalid value", "invalid value"},
    {"a block of too many threads", "error (emulated)", "error (emulated)", "error (emulated)"},
    {"a copy beyond its buffer", "leaves an allocation", "leaves an allocation", "leaves an allocation"},
    {"a buffer is freed twice", "cudaMalloc did not give", "cudaMalloc did not give", "cudaMalloc did not give"},
    {"uninitialised device memory", "ERROR: CHECK", "ERROR: CHECK", "ERROR: CHECK"},
    {"a stream that does not wait for another", "ERROR: CHECK", "ERROR: CHECK", "ERROR: CHECK"},
};
static_assert(std::size(kPlanted) >= 20);

struct Outcome {
  int status;
  std::string output;
};
// Runs one of the skipped test cases above in a fresh process of this program.
Outcome run_alone(const std::string& name) {
  const std::string file = "emulator_test." + std::to_string(getpid()) + ".log",
                    filter = "--test-case=planted: " + name;
  const char* const arguments[] = {"planted", filter.c_str(), "--no-skip", nullptr};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  REQUIRE(posix_spawn(&child, "/proc/self/exe", &files, nullptr, const_cast<char**>(arguments), environ) == 0);
  posix_spawn_file_actions_destroy(&files);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  std::remove(file.c_str());
  return {status, text.str()};
}
bool says_one_of(const std::string& output, const std::string& words) {
  const std::size_t bar = words.find('|');
  if (bar == std::string::npos) return output.find(words) != std::string::npos;
  return says_one_of(output, words.substr(0, bar)) || says_one_of(output, words.substr(bar + 1));
}

}  // namespace

TEST_CASE("a clean kernel passes") {
  const Outcome clean = run_alone("nothing");
  CAPTURE(clean.output);
  CHECK(clean.status == 0);
  CHECK(clean.output.find("1 passed") != std::string::npos);
}

TEST_CASE("every planted bug is caught for its own reason") {
  for (const Planted& p : kPlanted) {
    const std::string words = kMode == 'a' ? p.asan : kMode == 't' ? p.tsan : p.plain;
    if (words.empty()) continue;
    const Outcome outcome = run_alone(p.name);
    CAPTURE(p.name);
    CAPTURE(outcome.output);
    CHECK(outcome.status != 0);
    CHECK(says_one_of(outcome.output, words));
  }
}

TEST_CASE("a missing barrier gives wrong values whatever the order of threads") {
  if (kMode == 't') return;  // TSan would end the process: the race itself is its finding
  for (unsigned seed : {1u, 2u, 3u}) {
    cuda_emulation::set_seed(seed);
    Rig rig;
    launch(rig.dev, "reverse", reverse_kernel, dim3(1), dim3(kCount), kCount * sizeof(float), rig.x(), kCount,
           Bug::kNoBarrier);
    const auto now = rig.get();
    CHECK_FALSE(std::equal(now.begin(), now.end(), rig.host.rbegin()));
    cuda_emulation::set_seed(1);
  }
}

TEST_CASE("a product that cuBLASLt has no algorithm for is an Error that names its sizes") {
  Rig rig;
  check(cublasLtCreate(&rig.dev.lt.handle), "rig");
  constexpr Index kNoAlgorithm = 4093;  // emulator/cublaslt.cpp
  const Gemm g{.y = rig.x(),
               .x = rig.x(),
               .w = rig.x(),
               .bias = nullptr,
               .residual = nullptr,
               .rows = 1,
               .out = 2,
               .in = kNoAlgorithm,
               .y_stride = 2,
               .x_stride = kNoAlgorithm,
               .w_stride = kNoAlgorithm,
               .residual_stride = 0};
  CHECK_THROWS_WITH_AS(matmul(rig.dev, g), "linear: cuBLASLt has no algorithm for 1 rows, 4093 inputs, 2 outputs",
                       Error);
}
