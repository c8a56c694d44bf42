// Arena: a bump allocator on a slab that it does not own. Without a slab it only counts: peak() is the memory plan.
// Buffer: owned host memory, 64-byte aligned, uninitialised, of any std::pmr::memory_resource.
#pragma once
#include <algorithm>
#include <cstddef>
#include <memory_resource>
#include <new>
#include <string>
#include <utility>

#include "facellava/core/view.hpp"

namespace facellava {

class Arena {
 public:
  Arena() = default;
  Arena(void* slab, std::size_t bytes) : slab_(static_cast<std::byte*>(slab)), bytes_(bytes) {}

  // Points v at fresh memory. dynamic: the sizes of its dynamic dimensions, in order.
  template <class T, class Space, Index... D, class... I>
  void take(View<T, Space, D...>& v, I... dynamic) {
    v = View<T, Space, D...>(static_cast<T*>(nullptr), dynamic...);
    const std::size_t first = (used_ + kAlign - 1) / kAlign * kAlign;
    const std::size_t end = first + std::size_t(v.count()) * sizeof(T);
    if (slab_) {
      check_at_most(bytes_, end, "bytes taken from an arena");
      v.data = reinterpret_cast<T*>(slab_ + first);
    }
    used_ = end;
    peak_ = std::max(peak_, used_);
  }
  std::size_t mark() const { return used_; }
  void release(std::size_t mark) { used_ = mark; }
  std::size_t peak() const { return peak_; }

 private:
  static constexpr std::size_t kAlign = 64;
  std::byte* slab_ = nullptr;
  std::size_t bytes_ = 0, used_ = 0, peak_ = 0;
};

class Buffer {
 public:
  Buffer() = default;
  // memory: nullptr for new and delete; it must outlive the buffer. Errors: kCapacity (memory that is not granted).
  explicit Buffer(std::size_t bytes, std::pmr::memory_resource* memory = nullptr)
      : memory_(memory ? memory : std::pmr::new_delete_resource()), bytes_(bytes) {
    if (bytes == 0) return;
    try {
      data_ = memory_->allocate(bytes, kAlign);
    } catch (const std::bad_alloc&) {
      throw Error(ErrorKind::kCapacity, "expected " + std::to_string(bytes) + " bytes of memory, found fewer");
    }
  }
  ~Buffer() {
    if (data_) memory_->deallocate(data_, bytes_, kAlign);
  }
  Buffer(Buffer&& o) noexcept
      : memory_(o.memory_), data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  Buffer& operator=(Buffer&& o) noexcept {
    std::swap(memory_, o.memory_);
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  void* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  static constexpr std::size_t kAlign = 64;
  std::pmr::memory_resource* memory_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// A slab that grows to what is asked of it and is used again. What was carved before is lost.
class Workspace {
 public:
  // memory: as of a Buffer
  explicit Workspace(std::pmr::memory_resource* memory = nullptr) : memory_(memory) {}

  // Runs plan(arena) once to count and once on a slab that is large enough: one function says what memory is needed and
  // hands it out. Errors: kCapacity (memory that is not granted), after which the workspace is empty.
  void carve(auto&& plan) {
    Arena count;
    plan(count);
    if (count.peak() > slab_.size()) {
      slab_ = Buffer();
      slab_ = Buffer(count.peak(), memory_);
    }
    Arena arena(slab_.data(), slab_.size());
    plan(arena);
  }
  std::size_t bytes() const { return slab_.size(); }

 private:
  std::pmr::memory_resource* memory_;
  Buffer slab_;
};

}  // namespace facellava
