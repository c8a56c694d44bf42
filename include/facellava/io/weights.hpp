// Weights: binds the leaves of a Params to the tensors of checkpoints, and owns what had to be converted.
// A matrix of the Stored policy points straight into the mapped file, in the file's format; vectors become fp32.
#pragma once
#include <algorithm>
#include <concepts>
#include <functional>
#include <list>
#include <memory>
#include <set>

#include "facellava/core/arena.hpp"
#include "facellava/core/weight.hpp"
#include "facellava/io/checkpoint.hpp"
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
  enum class Convert { kKeep, kBf16 };  // matrices: as in the file, or rounded to bf16 at load

  using Predicate = std::function<bool(std::string_view)>;

  // A source of the leaves whose visited names `serves` accepts. rules must outlive the Weights.
  void add(std::shared_ptr<const Checkpoint> checkpoint, std::span<const Rename> rules, Predicate serves) {
    sources_.push_back({std::move(checkpoint), rules, std::move(serves), {}});
  }

  // visit_params: called with a visitor of (name, leaf). Binds what fits; a leaf that is missing keeps its null.
  Report bind(auto&& visit_params, Convert convert = Convert::kKeep) {
    Report report;
    lacking_.clear();
    visit_params([&](const std::string& name, auto& leaf) { bind_leaf(name, leaf, convert, report); });
    for (const Open& s : sources_)
      for (const auto& [name, entry] : s.checkpoint->tensors())
        if (!s.used.contains(name) && !is_ignored(name)) report.unexpected.push_back(name);
    return report;
  }

  // The same, but throws unless everything is there, in its shape, and nothing else. may_lack: visited names that a
  // checkpoint may be without; may_have: its own names that nothing needs.
  Report bind_strict(auto&& visit_params, Convert convert, const Predicate& may_lack, const Predicate& may_have) {
    if (sources_.empty()) throw Error(ErrorKind::kArgument, "expected a checkpoint to bind weights to, found none");
    Report report = bind(visit_params, convert);
    std::erase_if(report.missing, [&](const std::string& name) {
      const auto& leaves = lacking_[name];
      return std::all_of(leaves.begin(), leaves.end(), may_lack);
    });
    std::erase_if(report.unexpected, [&](const std::string& name) { return may_have(name); });
    if (!report.complete())
      throw Error(ErrorKind::kFormat,
                  sources_.back().checkpoint->path() + " does not hold this model:\n" + report.text());
    return report;
  }

 private:
  struct Open {
    std::shared_ptr<const Checkpoint> checkpoint;
    std::span<const Rename> rules;
    Predicate serves;
    std::set<std::string> used;
  };

  void bind_leaf(const std::string& name, auto& leaf, Convert convert, Report& report) {
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
      const std::vector<Index> expected(std::begin(leaf.kStatic), std::end(leaf.kStatic));
      TensorEntry part = it->second;
      if (!take_part(part, *source) || !fits(expected, part.shape)) {
        report.misshaped.push_back({source->name, expected, it->second.shape});
        return;
      }
      point(leaf, part, convert, s.checkpoint->file_of(source->name) + ", " + source->name);
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

  // Rows [part, part + 1) · rows / parts of a fused tensor.
  static bool take_part(TensorEntry& t, const Source& s) {
    if (s.parts == 1) return true;
    if (t.shape.empty() || t.shape[0] % s.parts != 0) return false;
    t.shape[0] /= s.parts;
    const std::size_t bytes = t.bytes.size() / std::size_t(s.parts);
    t.bytes = t.bytes.subspan(bytes * std::size_t(s.part), bytes);
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

  template <class S, Index... D>
  void point(StoredTensor<S, D...>& leaf, const TensorEntry& t, Convert convert, const std::string& where) {
    require_floating(t, where);
    const bool half = t.dtype == DType::kF16, brain = t.dtype == DType::kBf16;
    leaf.format = half ? Format::kF16 : brain ? Format::kBf16 : Format::kF32;
    leaf.data = t.bytes.data();
    if (convert == Convert::kBf16 && !brain) {
      const std::vector<float> values = to_floats(t);
      auto* out = own<bf16>(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) out[i] = to_bf16(values[i]);
      leaf.format = Format::kBf16;
      leaf.data = reinterpret_cast<const std::byte*>(out);
    } else if (reinterpret_cast<std::uintptr_t>(leaf.data) % std::uintptr_t(format_bytes(leaf.format)) != 0) {
      auto* out = own<std::byte>(t.bytes.size());
      std::copy(t.bytes.begin(), t.bytes.end(), out);
      leaf.data = out;
    }
  }
  template <class S, Index... D>
  void point(View<const float, S, D...>& leaf, const TensorEntry& t, Convert, const std::string& where) {
    require_floating(t, where);
    if (t.dtype == DType::kF32 && reinterpret_cast<std::uintptr_t>(t.bytes.data()) % alignof(float) == 0) {
      leaf = View<const float, S, D...>(reinterpret_cast<const float*>(t.bytes.data()));
      return;
    }
    const std::vector<float> values = to_floats(t);
    float* out = own<float>(values.size());
    std::copy(values.begin(), values.end(), out);
    leaf = View<const float, S, D...>(out);
  }
  // A leaf that can be written: its own memory if it has any, else ours.
  template <class T, class S, Index... D>
  requires(std::same_as<T, float> || std::same_as<T, bf16>) void point(View<T, S, D...>& leaf, const TensorEntry& t,
                                                                       Convert, const std::string& where) {
    require_floating(t, where);
    if (!leaf.data) leaf = View<T, S, D...>(own<T>(std::size_t(t.count())));
    const std::vector<float> values = to_floats(t);
    auto value = values.begin();
    for (Index r = 0; r < leaf.rows(); ++r)
      for (Index c = 0; c < leaf.row_size(); ++c, ++value)
        if constexpr (std::same_as<T, float>)
          leaf.row(r)[c] = *value;
        else
          leaf.row(r)[c] = to_bf16(*value);
  }
  static void require_floating(const TensorEntry& t, const std::string& where) {
    if (t.dtype != DType::kF16 && t.dtype != DType::kBf16 && t.dtype != DType::kF32)
      throw Error(ErrorKind::kFormat, where + ": expected f32, f16 or bf16, found " + dtype_name(t.dtype));
  }
  template <class T>
  T* own(std::size_t n) {
    return static_cast<T*>(slabs_.emplace_back(n * sizeof(T)).data());
  }

  std::vector<Open> sources_;
  std::list<Buffer> slabs_;
  std::map<std::string, std::vector<std::string>> lacking_;  // a missing tensor's name to those of our leaves
};

}  // namespace facellava::io
