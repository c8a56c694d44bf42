// What is to come next, prepared on a thread of its own while the last is worked on.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "facellava/core/error.hpp"

namespace facellava::train {

// Calls make, on one thread, until it gives nothing or throws; at most `capacity` results wait. The results come in the
// order they were made, so they do not depend on time. Destruction waits for the make that is running, no further one.
template <class T>
class Prefetch {
 public:
  using Make = std::function<std::optional<T>()>;

  // Error kArgument for a capacity below 1.
  Prefetch(Make make, std::size_t capacity) : make_(std::move(make)), capacity_(capacity) {
    if (capacity < 1) throw Error(ErrorKind::kArgument, "prefetch: expected room for at least 1, found 0");
    thread_ = std::jthread([this](std::stop_token stop) { work(stop); });
  }
  Prefetch(const Prefetch&) = delete;
  Prefetch& operator=(const Prefetch&) = delete;

  // The next result; nothing at the end. An exception of make comes here, behind the results before it, and again on
  // every further call. For one thread.
  std::optional<T> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !ready_.empty() || done_; });
    if (ready_.empty()) {
      if (failure_) std::rethrow_exception(failure_);
      return {};
    }
    std::optional<T> result(std::move(ready_.front()));
    ready_.pop_front();
    lock.unlock();
    changed_.notify_all();
    return result;
  }

 private:
  void work(const std::stop_token& stop) {
    std::exception_ptr failure;
    try {
      while (!stop.stop_requested()) {
        std::optional<T> result = make_();
        if (!result) break;
        std::unique_lock lock(mutex_);
        if (!changed_.wait(lock, stop, [&] { return ready_.size() < capacity_; })) return;
        ready_.push_back(std::move(*result));
        lock.unlock();
        changed_.notify_all();
      }
    } catch (...) {
      failure = std::current_exception();
    }
    {
      const std::lock_guard lock(mutex_);
      failure_ = failure;
      done_ = true;
    }
    changed_.notify_all();
  }

  Make make_;
  std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<T> ready_;
  bool done_ = false;
  std::exception_ptr failure_;
  std::jthread thread_;  // last: it ends before what it uses
};

}  // namespace facellava::train
