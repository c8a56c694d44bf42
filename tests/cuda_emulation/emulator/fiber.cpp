#include "fiber.hpp"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FACELLAVA_EMULATION_TSAN
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
}
#endif

// Saves the callee's registers on the stack of now, its pointer in *save, and goes on where `to` left off.
extern "C" void facellava_emulation_switch(void** save, void* to);
asm(R"(
.text
.globl facellava_emulation_switch
facellava_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace facellava::cuda_emulation {
namespace {

// A switch as ASan must hear of it: which stack comes next, and where the fake stack of this one is kept.
void asan_leaves([[maybe_unused]] void** fake, [[maybe_unused]] const void* bottom, [[maybe_unused]] std::size_t n) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake, bottom, n);
#endif
}
void asan_arrives([[maybe_unused]] void* fake, [[maybe_unused]] const void** bottom, [[maybe_unused]] std::size_t* n) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, bottom, n);
#endif
}
void tsan_switches([[maybe_unused]] void* to) {
#ifdef FACELLAVA_EMULATION_TSAN
  constexpr unsigned kNoOrder = 1;
  __tsan_switch_to_fiber(to, kNoOrder);
#endif
}

}  // namespace

void tsan_acquire([[maybe_unused]] void* p) {
#ifdef FACELLAVA_EMULATION_TSAN
  __tsan_acquire(p);
#endif
}
void tsan_release([[maybe_unused]] void* p) {
#ifdef FACELLAVA_EMULATION_TSAN
  __tsan_release(p);
#endif
}

// TSan's fiber stays: a program has a few hundred, for its whole life.
Fiber::~Fiber() {
  if (stack_) munmap(stack_, kStackBytes);
}

void Fiber::start(void (*entry)()) {
  if (!stack_) {
    void* p = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    stack_ = static_cast<char*>(p);
  }
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(stack_, kStackBytes);  // an earlier run may have ended in the middle
#endif
#ifdef FACELLAVA_EMULATION_TSAN
  if (!own_tsan_) own_tsan_ = __tsan_create_fiber(0);
  scheduler_tsan_ = __tsan_get_current_fiber();
#endif
  auto** top = reinterpret_cast<void**>(stack_ + kStackBytes);
  *--top = nullptr;  // entry finds the stack aligned as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int registers = 0; registers < 6; ++registers) *--top = nullptr;
  own_ = top;
  own_fake_ = nullptr;
}

void Fiber::resume() {
  tsan_switches(own_tsan_);
  asan_leaves(&scheduler_fake_, stack_, kStackBytes);
  facellava_emulation_switch(&scheduler_, own_);
  asan_arrives(scheduler_fake_, nullptr, nullptr);
}

void Fiber::yield(Last last) {
  tsan_switches(scheduler_tsan_);
  asan_leaves(last == Last::kYes ? nullptr : &own_fake_, scheduler_bottom_, scheduler_bytes_);
  facellava_emulation_switch(&own_, scheduler_);
  asan_arrives(own_fake_, &scheduler_bottom_, &scheduler_bytes_);
}

void Fiber::entered() { asan_arrives(nullptr, &scheduler_bottom_, &scheduler_bytes_); }

}  // namespace facellava::cuda_emulation
