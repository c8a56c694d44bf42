// Matrices of random weights in any storage format, in memory of large pages.
#pragma once
#include <cmath>
#include <cstring>
#include <list>
#include <memory>
#include <vector>

#include "facellava/core/arena.hpp"
#include "facellava/core/quantise.hpp"
#include "facellava/core/rng.hpp"
#include "facellava/core/weight.hpp"
#include "large_pages.hpp"

namespace facellava::bench {

inline Format format_from_name(std::string_view name) {
  std::string known;
  for (const Format f : kFormats) {
    if (name == format_name(f)) return f;
    known += (known.empty() ? "" : ", ") + std::string(format_name(f));
  }
  throw Error(ErrorKind::kArgument, "weights: expected one of " + known + ", found \"" + std::string(name) + "\"");
}

// Uniform in [−amplitude, amplitude).
inline void fill(auto first, auto last, double amplitude, Rng& rng) {
  for (; first != last; ++first) *first = float((2 * rng.uniform() - 1) * amplitude);
}

// Matrices of [rows, columns], uniform with variance 1 / columns. Drawing billions of numbers would take minutes: the
// first rows are drawn and the others repeat them.
class RandomMatrices {
 public:
  explicit RandomMatrices(std::uint64_t seed) : rng_(seed) {}

  StoredTensor<Host, kDyn, kDyn> add(Format format, Index rows, Index columns) {
    const Index drawn = std::min<Index>(rows, std::max<Index>(1, (Index(1) << 18) / columns));
    std::vector<float> values(std::size_t(drawn * columns));
    fill(values.begin(), values.end(), std::sqrt(3. / double(columns)), rng_);
    const Index step = row_bytes(format, columns);
    Buffer& buffer = slabs_.emplace_back(paged_memory(rows * step));
    auto* data = static_cast<std::byte*>(buffer.data());
    StoredTensor<Host, kDyn, kDyn> w{data, format, {rows, columns}, nullptr};
    if (format == Format::kNf4) {
      w.nf4 = add_nf4(data, values, drawn, rows, columns);
    } else {
      for (Index r = 0; r < drawn; ++r) quantise_row(format, data + r * step, values.data() + r * columns, columns);
    }
    for (Index r = drawn; r < rows; ++r) std::memcpy(data + r * step, data + r % drawn * step, std::size_t(step));
    bytes_ += rows * step;
    return w;
  }
  Index bytes() const { return bytes_; }

 private:
  struct Scales {
    std::vector<std::uint8_t> absmax;
    std::vector<float> nested;
    Nf4Scales view;
  };
  const Nf4Scales* add_nf4(std::byte* data, const std::vector<float>& values, Index drawn, Index rows, Index columns) {
    if (columns % kNf4Block != 0)
      throw Error(ErrorKind::kArgument, "nf4: expected a multiple of 64 columns, found " + std::to_string(columns));
    const Nf4Matrix m = quantise_nf4(values.data(), drawn * columns);
    std::memcpy(data, m.packed.data(), m.packed.size());
    Scales& s = scales_.emplace_back();
    const Index blocks = rows * columns / kNf4Block;
    for (Index b = 0; b < blocks; ++b) s.absmax.push_back(m.absmax[std::size_t(b) % m.absmax.size()]);
    s.nested.assign(std::size_t((blocks + kNf4Nested - 1) / kNf4Nested), m.nested[0]);
    s.view = {data, s.absmax.data(), s.nested.data(), m.offset};
    bytes_ += blocks;
    return &s.view;
  }

  Rng rng_;
  std::list<Buffer> slabs_;
  std::list<Scales> scales_;
  Index bytes_ = 0;
};

}  // namespace facellava::bench
