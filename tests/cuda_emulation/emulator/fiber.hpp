// A fiber: a stack of its own that runs until it yields. x86-64, System V calls.
#pragma once
#include <cstddef>

// FACELLAVA_EMULATION_TSAN: the tests are compiled with -fsanitize=thread, these files are not; they tell TSan of each
// fiber, and a switch orders nothing, so that only what the kernel itself orders counts.

namespace facellava::cuda_emulation {

class Fiber {
 public:
  Fiber() = default;
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // From the scheduler: the next resume() calls entry, which must not return but yield with Last::kYes.
  void start(void (*entry)());
  void resume();
  // From the fiber itself. kYes: it is never resumed again unless started anew.
  enum class Last { kNo, kYes };
  void yield(Last last);
  // First thing in entry.
  void entered();

 private:
  static constexpr std::size_t kStackBytes = 256 << 10;

  char* stack_ = nullptr;
  void *own_ = nullptr, *scheduler_ = nullptr;  // saved stack pointers
  // The sanitizers' view of both sides.
  void *own_fake_ = nullptr, *scheduler_fake_ = nullptr, *own_tsan_ = nullptr, *scheduler_tsan_ = nullptr;
  const void* scheduler_bottom_ = nullptr;
  std::size_t scheduler_bytes_ = 0;
};

// Order between fibers where the kernel makes it: what happened before release(p) is seen after acquire(p).
void tsan_acquire(void* p);
void tsan_release(void* p);

}  // namespace facellava::cuda_emulation
