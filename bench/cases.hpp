// The table of cases that bench_ops measures: the sizes of the 7B model. And a case by name.
#pragma once
#include <charconv>
#include <string>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/core/view.hpp"

namespace facellava::bench {

struct Case {
  std::string op;
  std::vector<Index> shape;
};

enum class Takes { kNoWeights, kWeights, kKeys };  // keys and values: f32 or bf16
struct OpEntry {
  const char* name;
  const char* shape;  // what its numbers are
  Takes takes;
};
inline constexpr OpEntry kOps[] = {
    {"linear", "rows x out x in", Takes::kWeights},
    {"embed", "rows x vocabulary x width", Takes::kWeights},
    {"add_rows", "rows x table x width", Takes::kWeights},
    {"gather_rows", "rows x width", Takes::kNoWeights},
    {"im2col", "frames x side x patch", Takes::kNoWeights},
    {"rms_norm", "rows x width", Takes::kNoWeights},
    {"layer_norm", "rows x width", Takes::kNoWeights},
    {"gelu", "rows x width", Takes::kNoWeights},
    {"swiglu", "rows x width", Takes::kNoWeights},
    {"axpy", "rows x width", Takes::kNoWeights},
    {"copy", "rows x width", Takes::kNoWeights},
    {"rope", "rows x heads x head size", Takes::kNoWeights},
    {"attention", "queries x keys x heads x key heads x head size; every query sees every key", Takes::kKeys},
    {"causal_attention", "as attention; the queries are the last of the keys", Takes::kKeys},
    {"kv_append", "rows x heads x head size", Takes::kKeys},
    {"region_bias", "frames x grid", Takes::kNoWeights},
    {"region_attention", "tokens of a frame x heads x head size", Takes::kNoWeights},
    {"fold_keys", "heads x head size x in", Takes::kWeights},
    {"fold_values", "heads x head size x out", Takes::kWeights},
    {"region_scores", "tokens of a frame x heads x in", Takes::kNoWeights},
    {"region_sum", "tokens of a frame x heads x out", Takes::kNoWeights},
    {"log_prob", "rows x vocabulary", Takes::kNoWeights},
    {"argmax", "rows x vocabulary", Takes::kNoWeights},
};

inline const std::vector<Case>& table() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> c{{"linear", {257, 1024, 1024}}, {"linear", {257, 4096, 1024}}, {"linear", {257, 1024, 4096}}};
    for (const Index rows : {1, 8, 320}) {
      c.push_back({"linear", {rows, 4096, 4096}});
      c.push_back({"linear", {rows, 11008, 4096}});
      c.push_back({"linear", {rows, 4096, 11008}});
    }
    c.push_back({"linear", {1, 32000, 4096}});
    const std::vector<Case> rest{{"attention", {257, 257, 16, 16, 64}},
                                 {"causal_attention", {1, 320, 32, 32, 128}},
                                 {"causal_attention", {320, 320, 32, 32, 128}},
                                 {"causal_attention", {1, 2120, 32, 32, 128}},
                                 {"causal_attention", {320, 2120, 32, 32, 128}},
                                 {"kv_append", {320, 32, 128}},
                                 {"im2col", {1, 224, 14}},
                                 {"layer_norm", {257, 1024}},
                                 {"gelu", {257, 4096}},
                                 {"add_rows", {257, 257, 1024}},
                                 {"gather_rows", {256, 1024}},
                                 {"embed", {320, 32000, 4096}},
                                 {"rms_norm", {320, 4096}},
                                 {"rope", {320, 32, 128}},
                                 {"swiglu", {320, 11008}},
                                 {"copy", {256, 4096}},
                                 {"axpy", {256, 4096}},
                                 {"region_bias", {8, 16}},
                                 {"region_attention", {256, 8, 512}},
                                 {"fold_keys", {8, 512, 4096}},
                                 {"fold_values", {8, 512, 4096}},
                                 {"region_scores", {256, 8, 4096}},
                                 {"region_sum", {256, 8, 4096}},
                                 {"log_prob", {8, 32000}},
                                 {"argmax", {8, 32000}}};
    c.insert(c.end(), rest.begin(), rest.end());
    return c;
  }();
  return cases;
}

inline const OpEntry& find_op(const std::string& name) {
  std::string known;
  for (const OpEntry& op : kOps) {
    if (name == op.name) return op;
    known += std::string("\n  ") + op.name + "  " + op.shape;
  }
  throw Error(ErrorKind::kArgument, "op \"" + name + "\": expected one of" + known);
}

// "320x11008x4096", checked against the op's shape.
inline Case parse_case(const OpEntry& op, const std::string& text) {
  Case c{op.name, {}};
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    Index n = 0;
    const auto [next, status] = std::from_chars(at, end, n);
    if (status != std::errc() || n < 1 || n > (Index(1) << 24) || (next < end && *next != 'x')) break;
    c.shape.push_back(n);
    at = next + (next < end);
  }
  std::size_t wanted = 0;
  for (const Case& known : table())
    if (known.op == c.op) wanted = known.shape.size();
  if (at < end || c.shape.size() != wanted)
    throw Error(ErrorKind::kArgument, "shape of " + c.op + ": expected " + op.shape + " (" + std::to_string(wanted) +
                                          " numbers joined by x), found \"" + text + "\"");
  return c;
}

inline std::string shape_name(const Case& c) {
  std::string name;
  for (const Index n : c.shape) name += (name.empty() ? "" : "x") + std::to_string(n);
  return name;
}

}  // namespace facellava::bench
