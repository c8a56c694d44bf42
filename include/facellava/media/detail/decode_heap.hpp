// The memory that stb_image may use for one picture: bounded, zeroed (so that a corrupt file cannot show old memory),
// and freed as a whole when the picture is done or an error passes through the decoder.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "facellava/core/error.hpp"

namespace facellava::media::detail {

class DecodeHeap {
 public:
  // The calling thread's decoder allocates here while this object lives.
  explicit DecodeHeap(std::size_t budget) : left_(budget), outer_(std::exchange(current(), this)) {}
  DecodeHeap(const DecodeHeap&) = delete;
  DecodeHeap& operator=(const DecodeHeap&) = delete;
  ~DecodeHeap() {
    for (const Block& b : blocks_) std::free(b.data);
    current() = outer_;
  }

  // Null where the budget does not suffice.
  static void* allocate(std::size_t bytes) {
    DecodeHeap& h = *current();
    if (bytes > h.left_) return nullptr;
    h.blocks_.reserve(h.blocks_.size() + 1);
    void* p = std::calloc(std::max<std::size_t>(bytes, 1), 1);
    if (!p) return nullptr;
    h.blocks_.push_back({p, bytes});
    h.left_ -= bytes;
    return p;
  }
  static void release(void* p) {
    DecodeHeap& h = *current();
    const auto b = std::find_if(h.blocks_.begin(), h.blocks_.end(), [p](const Block& x) { return x.data == p; });
    if (b == h.blocks_.end()) return;
    h.left_ += b->bytes;
    std::free(p);
    h.blocks_.erase(b);
  }
  static void* reallocate(void* p, std::size_t old_bytes, std::size_t bytes) {
    void* q = allocate(bytes);
    if (!q || !p) return q;
    std::memcpy(q, p, std::min(old_bytes, bytes));
    release(p);
    return q;
  }
  [[noreturn]] static void broken() {
    throw Error(ErrorKind::kFormat, "the picture's data contradict themselves inside the decoder");
  }

 private:
  struct Block {
    void* data;
    std::size_t bytes;
  };
  static DecodeHeap*& current() {
    static thread_local DecodeHeap* heap = nullptr;
    return heap;
  }

  std::size_t left_;
  std::vector<Block> blocks_;
  DecodeHeap* outer_;
};

}  // namespace facellava::media::detail
