// Blocks, barriers and warp operations. One block runs at a time. Two sets of fibers take turns, so that TSan sees
// neighbouring blocks as different threads.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "cuda_runtime.h"
#include "emulator.hpp"
#include "fiber.hpp"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace facellava::cuda_emulation {
namespace {

constexpr int kLanes = 32;
constexpr std::size_t kStaticShared = 48 << 10, kRedzone = 32;

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

// Memory for one block that a read or write beyond its end cannot miss.
class SharedMemory {
 public:
  explicit SharedMemory(std::size_t bytes)
      : whole_((bytes + 2 * kAlign - 1) / kAlign * kAlign),
        data_(static_cast<unsigned char*>(std::aligned_alloc(kAlign, whole_))) {
    std::fill_n(data_.get(), whole_, static_cast<unsigned char>(0xff));  // NaN, in any of the float types
    poison(data_.get() + bytes, whole_ - bytes);
  }
  SharedMemory(SharedMemory&&) = default;
  ~SharedMemory() {
    if (data_) unpoison(data_.get(), whole_);
  }
  unsigned char* data() const { return data_.get(); }

 private:
  static constexpr std::size_t kAlign = 128;
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::size_t whole_;
  std::unique_ptr<unsigned char, Free> data_;
};

enum class State { kReady, kAtBarrier, kAtWarpOp, kDone };

struct Thread {
  Fiber fiber;
  uint3 index{};
  State state = State::kDone;
  Location at{};
  // The warp operation that it waits in.
  WarpOp op{};
  unsigned mask = 0;
  int source = -1;
  Words value{}, result{};
  unsigned barriers = 0, warp_syncs = 0;
};

struct Block {
  std::deque<Thread> threads;  // more than `count` if an earlier block was larger
  int count = 0, current = 0;
  const std::function<void()>* kernel = nullptr;
  unsigned char *dynamic = nullptr, *fixed = nullptr;
  std::size_t fixed_used = 0;
  std::vector<std::pair<const void*, void*>> arrays;
  std::string error;
  char barrier_order[2], warp_order[32][4];  // addresses for tsan_acquire and tsan_release
};

Block* block = nullptr;
char launch_order, end_order;

std::string name(const Location& at) {
  const std::string file = at.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(at.line());
}
std::string name(const Thread& t) {
  const auto triple = [](auto i) {
    return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
  };
  return "thread " + triple(t.index) + " of block " + triple(blockIdx);
}

Thread& self() { return block->threads[std::size_t(block->current)]; }

// Ends the running thread, and with an error its block.
[[noreturn]] void leave(std::string error) {
  block->error = std::move(error);
  self().state = State::kDone;
  self().fiber.yield(Fiber::Last::kYes);
  std::abort();
}

void entry() {
  self().fiber.entered();
  tsan_acquire(&launch_order);
  (*block->kernel)();
  tsan_release(&end_order);
  leave({});
}

// Ends the warp operation that thread i has just come to, if all lanes of its mask are there.
void complete_warp_op(Block& b, int i) {
  const int first = i / kLanes * kLanes;
  const Thread& me = b.threads[std::size_t(i)];
  std::vector<std::pair<int, Thread*>> lanes;
  std::uint64_t ballot = 0;
  for (int l = 0; l < kLanes && first + l < b.count; ++l) {
    if (!(me.mask >> l & 1)) continue;
    Thread& t = b.threads[std::size_t(first + l)];
    if (t.state == State::kDone) {
      b.error = "warp operation at " + name(me.at) + ": its mask names lane " + std::to_string(l) +
                ", which has left the kernel; " + name(me);
      return;
    }
    if (t.state != State::kAtWarpOp || t.mask != me.mask || t.op != me.op || t.at.line() != me.at.line()) return;
    if (t.value.word[0]) ballot |= std::uint64_t(1) << l;
    lanes.emplace_back(l, &t);
  }
  for (auto [l, t] : lanes) {
    if (t->op == WarpOp::kShuffle) {
      if (!(t->mask >> t->source & 1) || first + t->source >= b.count) {
        b.error = "shuffle at " + name(t->at) + " reads lane " + std::to_string(t->source) +
                  ", which is not in its mask; " + name(*t);
        return;
      }
      t->result = b.threads[std::size_t(first + t->source)].value;
    } else {
      t->result = {{ballot, 0}};
    }
    t->state = State::kReady;
  }
}

// All threads wait: opens the barrier if they all wait at it, else says who blocks whom.
void open_barrier(Block& b) {
  const Thread* waiting = nullptr;
  for (int i = 0; i < b.count; ++i) {
    const Thread& t = b.threads[std::size_t(i)];
    if (t.state == State::kAtWarpOp) {
      b.error = "warp operation at " + name(t.at) + " never completed: lanes of its mask wait elsewhere; " + name(t);
      return;
    }
    if (t.state == State::kAtBarrier && !waiting) waiting = &t;
  }
  for (int i = 0; i < b.count; ++i) {
    Thread& t = b.threads[std::size_t(i)];
    if (t.state == State::kDone)
      b.error = "__syncthreads at " + name(waiting->at) + " not reached: it has left the kernel, " + name(t);
    else if (t.at.line() != waiting->at.line())
      b.error = "divergent __syncthreads: " + name(waiting->at) + " and " + name(t.at) + "; " + name(t);
    if (!b.error.empty()) return;
  }
  for (int i = 0; i < b.count; ++i) b.threads[std::size_t(i)].state = State::kReady;
}

// With a seed: a random order in each pass, and one warp of the block that runs far behind the others.
void run_block(Block& b, std::vector<int>& order, std::mt19937& random) {
  block = &b;
  const int slow = seed() ? int(random() % unsigned((b.count + kLanes - 1) / kLanes)) : -1;
  bool only_slow = false;  // the others all wait
  for (int alive = b.count; alive > 0;) {
    if (seed()) std::shuffle(order.begin(), order.end(), random);
    const bool hold = !only_slow && random() % 16 != 0;
    bool progress = false, held = false;
    for (int i : order) {
      Thread& t = b.threads[std::size_t(i)];
      if (t.state != State::kReady) continue;
      if (hold && i / kLanes == slow) {
        held = true;
        continue;
      }
      progress = true;
      b.current = i;
      threadIdx = t.index;
      t.fiber.resume();
      if (t.state == State::kDone) --alive;
      if (t.state == State::kAtWarpOp) complete_warp_op(b, i);
      if (!b.error.empty()) return;
    }
    only_slow = held && !progress;
    if (!progress && !held) open_barrier(b);
    if (!b.error.empty()) return;
  }
}

void prepare(Block& b, dim3 shape) {
  b.count = int(shape.x * shape.y * shape.z);
  while (b.threads.size() < std::size_t(b.count)) b.threads.emplace_back();
  b.error.clear();
  b.arrays.clear();
  b.fixed_used = 0;
  for (unsigned i = 0; i < unsigned(b.count); ++i) {
    Thread& t = b.threads[i];
    t.index = {i % shape.x, i / shape.x % shape.y, i / shape.x / shape.y};
    t.state = State::kReady;
    t.barriers = t.warp_syncs = 0;
    t.fiber.start(&entry);
  }
}

unsigned current_seed = 1;

}  // namespace

void set_seed(unsigned s) { current_seed = s; }
unsigned seed() { return current_seed; }

void report(const std::string& what) { std::fprintf(stderr, "CUDA emulation: %s\n", what.c_str()); }

int lane() { return block->current % kLanes; }
void* dynamic_shared() { return block->dynamic; }
void* shared_array(const void* key, std::size_t bytes) {
  for (auto [k, p] : block->arrays)
    if (k == key) return p;
  const std::size_t room = (bytes + 15) / 16 * 16 + kRedzone;
  if (room > kStaticShared - block->fixed_used) leave("more than 48 KiB of static shared memory");
  void* p = block->fixed + block->fixed_used;
  block->fixed_used += room;
  unpoison(p, bytes);
  block->arrays.emplace_back(key, p);
  return p;
}

void block_barrier(Location at) {
  Thread& t = self();
  t.at = at;
  t.state = State::kAtBarrier;
  char* order = &block->barrier_order[t.barriers++ % 2];
  tsan_release(order);
  t.fiber.yield(Fiber::Last::kNo);
  tsan_acquire(order);
}

Words warp_op(WarpOp op, unsigned mask, Words value, int source, Location at) {
  Thread& t = self();
  if (!(mask >> lane() & 1)) leave("warp operation at " + name(at) + ": its mask lacks the calling lane; " + name(t));
  t.op = op;
  t.mask = mask;
  t.value = value;
  t.source = source;
  t.at = at;
  t.state = State::kAtWarpOp;
  char* order = op == WarpOp::kSync ? &block->warp_order[block->current / kLanes][t.warp_syncs++ % 4] : nullptr;
  if (order) tsan_release(order);
  t.fiber.yield(Fiber::Last::kNo);
  if (order) tsan_acquire(order);
  return t.result;
}

cudaError_t run_grid(dim3 grid, dim3 shape, std::size_t shared_bytes, const std::function<void()>& kernel) {
  static Block pair[2];
  const DeviceAccess access;
  std::mt19937 random(seed());
  blockDim = shape;
  gridDim = grid;
  std::vector<unsigned> blocks(std::size_t(grid.x) * grid.y * grid.z);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = unsigned(i);
  if (seed()) std::shuffle(blocks.begin(), blocks.end(), random);
  std::vector<int> order(std::size_t(shape.x) * shape.y * shape.z);
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = int(i);

  // Under TSan no two blocks of a kernel share an address: what one leaves is no race with the next.
  std::vector<SharedMemory> kept;
  std::string error;
  for (std::size_t k = 0; k < blocks.size() && error.empty(); ++k) {
    Block& b = pair[k % 2];
    blockIdx = {blocks[k] % grid.x, blocks[k] / grid.x % grid.y, blocks[k] / grid.x / grid.y};
#ifndef FACELLAVA_EMULATION_TSAN
    kept.clear();
#endif
    b.dynamic = kept.emplace_back(shared_bytes).data();
    b.fixed = kept.emplace_back(kStaticShared).data();
    poison(b.fixed, kStaticShared);
    b.kernel = &kernel;
    tsan_release(&launch_order);
    prepare(b, shape);
    run_block(b, order, random);
    error = b.error;
  }
  tsan_acquire(&end_order);
  if (error.empty()) return cudaSuccess;
  report(error);
  return cudaErrorLaunchFailure;
}

}  // namespace facellava::cuda_emulation
