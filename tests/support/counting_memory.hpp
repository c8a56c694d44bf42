// A memory resource that counts what is asked of it, and can refuse.
#pragma once
#include <algorithm>
#include <limits>
#include <memory_resource>
#include <mutex>

namespace facellava::test {

class CountingMemory final : public std::pmr::memory_resource {
 public:
  std::size_t live() const { return live_; }
  std::size_t peak() const { return peak_; }
  int calls() const { return calls_; }
  // The call with this number, counted from now on and from 0, and all after it get nothing.
  void fail_from(int call) {
    calls_ = 0;
    allowed_ = call;
  }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    const std::lock_guard lock(mutex_);
    if (calls_++ >= allowed_) throw std::bad_alloc();
    void* p = std::pmr::new_delete_resource()->allocate(bytes, alignment);
    live_ += bytes;
    peak_ = std::max(peak_, live_);
    return p;
  }
  void do_deallocate(void* p, std::size_t bytes, std::size_t alignment) override {
    const std::lock_guard lock(mutex_);
    live_ -= bytes;
    std::pmr::new_delete_resource()->deallocate(p, bytes, alignment);
  }
  bool do_is_equal(const memory_resource& o) const noexcept override { return this == &o; }

  std::mutex mutex_;
  std::size_t live_ = 0, peak_ = 0;
  int calls_ = 0, allowed_ = std::numeric_limits<int>::max();
};

}  // namespace facellava::test
