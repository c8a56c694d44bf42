// A pool of threads that share numbered tasks. Tasks write disjoint outputs, so results do not depend on the count.
#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "facellava/core/view.hpp"

namespace facellava::cpu {

class ThreadPool {
 public:
  // threads: how many work, the caller among them; 0: one a hardware thread. Errors: kArgument, kDevice (the system has
  // no thread left).
  explicit ThreadPool(int threads) {
    if (threads < 0 || threads > kMost)
      throw Error(ErrorKind::kArgument,
                  "threads: expected 0 to " + std::to_string(kMost) + ", found " + std::to_string(threads));
    const int n = threads > 0 ? threads : std::clamp(int(std::thread::hardware_concurrency()), 1, kMost);
    try {
      for (int i = 1; i < n; ++i) workers_.emplace_back([this, i] { serve(i); });
    } catch (const std::system_error& e) {
      close();
      throw Error(ErrorKind::kDevice, "the system gives no more than " + std::to_string(workers_.size() + 1) + " of " +
                                          std::to_string(n) + " threads: " + e.what());
    }
  }
  ~ThreadPool() { close(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return int(workers_.size()) + 1; }

  // Calls task(i, thread) for every i in [0, count) and returns when all are done. The first exception is rethrown.
  // One caller at a time.
  template <class F>
  void run(Index count, F&& task) {
    if (count <= 1 || workers_.empty()) {
      for (Index i = 0; i < count; ++i) task(i, 0);
      return;
    }
    std::lock_guard caller(caller_);
    failure_ = nullptr;
    call_ = [](void* f, Index i, int thread) { (*static_cast<std::remove_reference_t<F>*>(f))(i, thread); };
    task_ = const_cast<void*>(static_cast<const void*>(&task));
    count_ = count;
    next_.store(0);
    busy_.store(int(workers_.size()));
    {
      std::lock_guard lock(mutex_);
      round_.fetch_add(1);
    }
    wake_.notify_all();
    work(0);
    for (int spin = 0; busy_.load() > 0; ++spin)
      if (spin > kSpins) std::this_thread::yield();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  static constexpr int kSpins = 4096;  // about 20 µs: the gap between two ops of a small model

  static constexpr int kMost = 1024;

  void close() {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
      round_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
  }
  void work(int thread) {
    try {
      for (Index i; (i = next_.fetch_add(1)) < count_;) call_(task_, i, thread);
    } catch (...) {
      next_.store(count_);
      std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }
  void serve(int thread) {
    for (unsigned seen = 0;;) {
      for (int spin = 0; round_.load() == seen && spin < kSpins; ++spin) {
      }
      if (round_.load() == seen) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return round_.load() != seen; });
      }
      seen = round_.load();
      if (closing_) return;
      work(thread);
      busy_.fetch_sub(1);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex caller_, mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> round_{0};
  std::atomic<Index> next_{0};
  std::atomic<int> busy_{0};
  std::atomic<bool> closing_{false};
  Index count_ = 0;
  void* task_ = nullptr;
  void (*call_)(void*, Index, int) = nullptr;
  std::exception_ptr failure_;
};

}  // namespace facellava::cpu
