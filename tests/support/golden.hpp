// Golden tensors of the official Python code, and binding of Params to them.
#pragma once
#include <doctest/doctest.h>

#include <list>
#include <string>

#include "facellava/io/safetensors.hpp"
#include "support/random.hpp"

namespace facellava::test {

inline std::string golden_path(const std::string& name) { return std::string(FACELLAVA_GOLDENS) + "/" + name; }

class Golden {
 public:
  explicit Golden(const std::string& name) : file_(golden_path(name)) {}
  std::vector<float> floats(const std::string& name) const { return io::to_floats(file_.at(name)); }
  std::vector<std::int64_t> integers(const std::string& name) const { return io::to_integers(file_.at(name)); }
  const std::vector<Index>& shape(const std::string& name) const { return file_.at(name).shape; }
  bool has(const std::string& name) const { return file_.tensors().contains(name); }
  const io::Safetensors& file() const { return file_; }

 private:
  io::Safetensors file_;
};

// Points fp32 leaves at the tensors `prefix` + name.
class Binder {
 public:
  Binder(const Golden& golden, std::string prefix) : golden_(golden), prefix_(std::move(prefix)) {}
  template <Index... D>
  void operator()(const std::string& name, View<const float, Host, D...>& leaf) {
    const auto& values = values_.emplace_back(golden_.floats(prefix_ + name));
    REQUIRE(Index(values.size()) == (D * ...));
    leaf = View<const float, Host, D...>(values.data());
    names.push_back(prefix_ + name);
  }
  std::vector<std::string> names;

 private:
  const Golden& golden_;
  std::string prefix_;
  std::list<std::vector<float>> values_;
};

// max |a − b| / max |b| of rows that may be strided, against a golden tensor.
inline double golden_error(auto view, const std::vector<float>& golden) {
  std::vector<float> flat;
  for (Index r = 0; r < view.rows(); ++r)
    for (Index c = 0; c < view.row_size(); ++c) flat.push_back(float(view.row(r)[c]));
  REQUIRE(flat.size() == golden.size());
  return relative_to_max(flat, golden, Index(flat.size()));
}

}  // namespace facellava::test
