// Weights: binds the leaves of a Params to the tensors of checkpoints, and owns what had to be converted.
// A matrix of the Stored policy points straight into the mapped file, in the file's format; vectors become fp32.
#pragma once
#include <algorithm>
#include <concepts>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>

#include "facellava/core/arena.hpp"
#include "facellava/core/leaf.hpp"
#include "facellava/core/quantise.hpp"
#include "facellava/io/checkpoint.hpp"
#include "facellava/io/conversion_rule.hpp"
#include "facellava/io/naming.hpp"

namespace facellava::io {

// What binding found. Names are the checkpoint's.
struct Report {
  struct Misfit {
    std::string name;
    std::vector<Index> expected, found;
  };
  std::vector<std::string> bound, missing, unexpected;
  std::vector<Misfit> misshaped;
  bool complete() const { return missing.empty() && unexpected.empty() && misshaped.empty(); }

  // One line a tensor, at most `lines` of each kind.
  std::string text(std::size_t lines = 20) const {
    std::string out;
    const auto list = [&](const char* what, const auto& names, const auto& line) {
      if (names.empty()) return;
      out += std::to_string(names.size()) + " " + what + ":\n";
      for (std::size_t i = 0; i < names.size() && i < lines; ++i) out += "  " + line(names[i]) + "\n";
      if (names.size() > lines) out += "  ... and " + std::to_string(names.size() - lines) + " more\n";
    };
    const auto same = [](const std::string& name) { return name; };
    list("missing", missing, same);
    list("unexpected", unexpected, same);
    list("mis-shaped", misshaped, [](const Misfit& m) {
      return m.name + ": expected " + shape_text(m.expected) + ", found " + shape_text(m.found);
    });
    return out;
  }
};

class Weights {
 public:
  using Convert = std::optional<Format>;  // matrices: as in the file, or rounded to this format at load

  using Predicate = std::function<bool(std::string_view)>;

  // memory: of what is converted or copied, but for scales of nf4; nullptr: new and delete.
  explicit Weights(std::pmr::memory_resource* memory = nullptr) : memory_(memory) {}

  // A source of the leaves whose visited names `serves` accepts. rules must outlive the Weights. head_dim: rows of an
  // attention head, where a rule speaks of rotary pairs.
  void add(std::shared_ptr<const Checkpoint> checkpoint, std::span<const Rename> rules, Predicate serves,
           Index head_dim = 0) {
    sources_.push_back({std::move(checkpoint), rules, std::move(serves), head_dim, {}});
  }

  // Binds what fits; a leaf that is missing keeps its null.
  Report bind(std::span<const NamedLeaf> leaves, Convert convert = {}) {
    Report report;
    lacking_.clear();
    for (const NamedLeaf& l : leaves) bind_leaf(l.name, l.leaf, convert, report);
    for (const Open& s : sources_)
      for (const auto& [name, entry] : s.checkpoint->tensors())
        if (!s.used.contains(name) && !is_ignored(name)) report.unexpected.push_back(name);
    return report;
  }

  // The same, but throws unless everything is there, in its shape, and nothing else. may_lack: visited names that a
  // checkpoint may be without; may_have: its own names that nothing needs.
  Report bind_strict(std::span<const NamedLeaf> leaves, Convert convert, const Predicate& may_lack,
                     const Predicate& may_have) {
    if (sources_.empty()) throw Error(ErrorKind::kArgument, "expected a checkpoint to bind weights to, found none");
    Report report = bind(leaves, convert);
    std::erase_if(report.missing, [&](const std::string& name) {
      const auto& ours = lacking_[name];
      return std::all_of(ours.begin(), ours.end(), may_lack);
    });
    std::erase_if(report.unexpected, [&](const std::string& name) { return may_have(name); });
    if (!report.complete())
      throw Error(ErrorKind::kFormat,
                  sources_.back().checkpoint->path() + " does not hold this model:\n" + report.text());
    return report;
  }

 private:
  static constexpr Index kNf4Row = 16;  // rows begin at a multiple of this many nibbles
  struct Open {
    std::shared_ptr<const Checkpoint> checkpoint;
    std::span<const Rename> rules;
    Predicate serves;
    Index head_dim;
    std::set<std::string> used;
  };

  void bind_leaf(const std::string& name, const Leaf& leaf, Convert convert, Report& report) {
    for (Open& s : sources_) {
      if (!s.serves(name)) continue;
      const auto source = rename(s.rules, name);
      if (!source) continue;
      const auto it = s.checkpoint->tensors().find(source->name);
      if (it == s.checkpoint->tensors().end()) {
        lack(source->name, name, report);
        return;
      }
      s.used.insert(source->name);
      const std::vector<Index> expected(leaf.sizes.begin(), leaf.sizes.end());
      const TensorEntry& whole = it->second;
      std::vector<Index> shape = whole.shape;
      if (!take_part(shape, *source) || !fits(expected, shape)) {
        report.misshaped.push_back({source->name, expected, whole.shape});
        return;
      }
      const Index first = shape.empty() ? 0 : source->part * shape[0];
      const std::string where = s.checkpoint->file_of(source->name) + ", " + source->name;
      const DType to = converted_type(source->name, whole, convert);
      if (source->pairs == RopePairs::kNeighbours)
        point(leaf, in_halves(whole, s.head_dim, where), first, to, where);
      else
        point(leaf, whole, first, to, where);
      report.bound.push_back(source->name);
      return;
    }
    lack(name, name, report);
  }
  void lack(const std::string& theirs, const std::string& ours, Report& report) {
    auto& leaves = lacking_[theirs];
    if (leaves.empty()) report.missing.push_back(theirs);
    leaves.push_back(ours);
  }

  // A copy with the rows of each head in our order.
  TensorEntry in_halves(const TensorEntry& t, Index head_dim, const std::string& where) {
    if (t.dtype == DType::kNf4 || t.shape.size() != 2 || head_dim < 2 || head_dim % 2 != 0 ||
        t.shape[0] % head_dim != 0)
      throw Error(ErrorKind::kFormat, where + ": expected whole rows of heads of " + std::to_string(head_dim) +
                                          ", found " + shape_text(t.shape));
    const std::size_t row = t.bytes.size() / std::size_t(t.shape[0]);
    auto* out = own<std::byte>(t.bytes.size());
    for (Index r = 0; r < t.shape[0]; ++r) {
      const Index i = r % head_dim, to = r - i + i % 2 * head_dim / 2 + i / 2;
      std::copy_n(t.bytes.data() + std::size_t(r) * row, row, out + std::size_t(to) * row);
    }
    return {t.dtype, t.shape, {out, t.bytes.size()}};
  }

  // The shape of part `part` of `parts` of a fused tensor.
  static bool take_part(std::vector<Index>& shape, const Source& s) {
    if (s.parts == 1) return true;
    if (shape.empty() || shape[0] % s.parts != 0) return false;
    shape[0] /= s.parts;
    return true;
  }
  // Equal, but for leading ones ([1, a, b]) and trailing dimensions that a matrix takes as one ([a, c, d, e]).
  static bool fits(const std::vector<Index>& expected, std::vector<Index> found) {
    while (found.size() > expected.size() && found[0] == 1) found.erase(found.begin());
    if (expected.size() == 1) return found == expected || (found.empty() && expected[0] == 1);
    if (found.empty() || found[0] != expected[0]) return false;
    Index rest = 1;
    for (std::size_t d = 1; d < found.size(); ++d) rest *= found[d];
    return rest == expected[1];
  }

  // Points a leaf at rows [first, …) of a tensor.
  void point(const Leaf& leaf, const TensorEntry& t, Index first, DType to, const std::string& where) {
    const Format format = require_format(t, where);
    switch (leaf.kind) {
      case Leaf::Kind::kStored: return point_matrix(leaf, t, format, first, format_of(to).value_or(format), where);
      case Leaf::Kind::kConst: return point_vector(leaf, t, first);
      case Leaf::Kind::kFloat: return fill<float>(leaf, t, first);
      case Leaf::Kind::kBrain: return fill<bf16>(leaf, t, first);
    }
  }
  void point_matrix(const Leaf& leaf, const TensorEntry& t, Format format, Index first, Format wanted,
                    const std::string& where) {
    const std::byte*& data = leaf.data<const std::byte>();
    const Index width = leaf.columns();
    *leaf.format = wanted;
    if (wanted != format) return quantise(leaf, values_of(leaf, t, first).data());
    data = t.bytes.data() + first * row_bytes(format, width);
    if (format == Format::kNf4) {
      if (width % kNf4Row != 0)
        throw Error(ErrorKind::kFormat,
                    where + ": an nf4 matrix must have a multiple of 16 columns, found " + std::to_string(width));
      *leaf.nf4 = &nf4_.emplace_back(t).scales;
    } else if (!is_block_format(format) && misaligned(data, block_bytes(format))) {
      const std::size_t bytes = std::size_t(leaf.rows() * row_bytes(format, width));
      auto* out = own<std::byte>(bytes);
      std::copy_n(data, bytes, out);
      data = out;
    }
  }
  // Rounds a matrix to its leaf's format. A width that nf4 cannot have becomes bf16.
  void quantise(const Leaf& leaf, const float* values) {
    const Index n = leaf.rows(), width = leaf.columns();
    const std::byte*& data = leaf.data<const std::byte>();
    Format& format = *leaf.format;
    if (format == Format::kNf4 && width % kNf4Row == 0) {
      const auto& m = quantised_.emplace_back(quantise_nf4(values, n * width));
      data = m.packed.data();
      *leaf.nf4 = &scales_.emplace_back(m.scales());
      return;
    }
    if (format == Format::kNf4) format = Format::kBf16;
    const Index step = row_bytes(format, width);
    auto* out = own<std::byte>(std::size_t(n * step));
    for (Index r = 0; r < n; ++r) quantise_row(format, out + r * step, values + r * width, width);
    data = out;
  }
  void point_vector(const Leaf& leaf, const TensorEntry& t, Index first) {
    const float*& data = leaf.data<const float>();
    *leaf.stride = leaf.columns();
    if (t.dtype == DType::kF32 && !misaligned(t.bytes.data(), alignof(float))) {
      data = reinterpret_cast<const float*>(t.bytes.data()) + first * leaf.columns();
      return;
    }
    const std::vector<float> values = values_of(leaf, t, first);
    float* out = own<float>(values.size());
    std::copy(values.begin(), values.end(), out);
    data = out;
  }
  // A leaf that can be written: its own memory if it has any, else ours.
  template <class T>
  void fill(const Leaf& leaf, const TensorEntry& t, Index first) {
    const std::vector<float> values = values_of(leaf, t, first);
    T*& data = leaf.data<T>();
    if (!data) {
      data = own<T>(values.size());
      *leaf.stride = leaf.columns();
    }
    auto value = values.begin();
    const bool vector = leaf.sizes.size() == 1;
    for (Index r = 0; r < (vector ? 1 : leaf.rows()); ++r)
      for (Index c = 0; c < (vector ? leaf.rows() : leaf.columns()); ++c, ++value)
        if constexpr (std::same_as<T, float>)
          data[r * *leaf.stride + c] = *value;
        else
          data[r * *leaf.stride + c] = to_bf16(*value);
  }
  // The values of a leaf that is rows [first, …) of a tensor.
  static std::vector<float> values_of(const Leaf& leaf, const TensorEntry& t, Index first) {
    std::vector<float> values = to_floats(t);
    values.erase(values.begin(), values.begin() + first * leaf.columns());
    values.resize(std::size_t(leaf.rows() * leaf.columns()));
    return values;
  }
  static bool misaligned(const std::byte* p, Index to) {
    return reinterpret_cast<std::uintptr_t>(p) % std::uintptr_t(to) != 0;
  }
  static Format require_format(const TensorEntry& t, const std::string& where) {
    const auto format = format_of(t.dtype);
    if (!format)
      throw Error(ErrorKind::kFormat,
                  where + ": expected f32, f16, bf16, q8, q4, q4_1 or nf4, found " + dtype_name(t.dtype));
    return *format;
  }
  template <class T>
  T* own(std::size_t n) {
    return static_cast<T*>(slabs_.emplace_back(n * sizeof(T), memory_).data());
  }

  std::pmr::memory_resource* memory_;
  std::vector<Open> sources_;
  std::list<Buffer> slabs_;
  std::list<detail::Nf4Parts> nf4_;  // of nf4 tensors read from files
  std::list<Nf4Matrix> quantised_;   // of matrices rounded to nf4 at load
  std::list<Nf4Scales> scales_;
  std::map<std::string, std::vector<std::string>> lacking_;  // a missing tensor's name to those of our leaves
};

}  // namespace facellava::io
