// attention at any shape, keys and values in fp32 or bf16: one sequence, all queries of it or the last ones.
#include <memory>

#include "arrays.hpp"
#include "facellava/layers/layout.hpp"
#include "facellava/ref/device.hpp"
#include "prepared_op.hpp"

namespace facellava::bench {
namespace {

template <class T, class Kv>
struct Operands {
  Operands(Index queries, Index keys, Index heads, Index key_heads, Index size)
      : o(arrays.tensor(queries, heads, size)),
        q(arrays.tensor(queries, heads, size)),
        lse(arrays.matrix(queries, heads)),
        k(arrays.template keys<Kv>(keys, key_heads, size)),
        v(arrays.template keys<Kv>(keys, key_heads, size)) {}
  void run(auto& dev, const std::vector<Sequence>& sequences, const std::vector<KvRange>& ranges, Mask mask) {
    attention(dev, o, lse, q, k, v, View<const Sequence, Host, kDyn>(sequences.data(), Index(sequences.size())),
              View<const KvRange, Host, kDyn>(ranges.data(), Index(ranges.size())), mask, inverse_root(int(q.size(2))));
  }
  Arrays<T> arrays;
  View<T, Host, kDyn, kDyn, kDyn> o, q;
  View<T, Host, kDyn, kDyn> lse;
  decltype(std::declval<Arrays<T>>().template keys<Kv>(0, 0, 0)) k, v;
};

template <class Kv>
PreparedOp prepare(cpu::Device& dev, const std::vector<Index>& s, Mask mask) {
  const Index queries = s[0], keys = s[1], heads = s[2], key_heads = s[3], size = s[4];
  if (heads % key_heads != 0 || (mask == Mask::kCausal && queries > keys))
    throw Error(ErrorKind::kArgument,
                "attention: key heads must divide heads, and no more queries than keys be causal");
  const auto op = std::make_shared<Operands<float, Kv>>(queries, keys, heads, key_heads, size);
  const auto run = [=, &dev] { op->run(dev, {{0, int(queries), 0, 1}}, {{0, int(keys)}}, mask); };
  // At most 16 queries, each as a sequence of its own over the keys that it sees.
  const auto error = [=] {
    run();
    Operands<double, Kv> exact(queries, keys, heads, key_heads, size);
    ref::Device oracle;
    double worst = 0, squares = 0, count = 0;
    const Index sample = std::min<Index>(queries, 16);
    for (Index i = 0; i < sample; ++i) {
      const Index r = sample == 1 ? 0 : i * (queries - 1) / (sample - 1);
      const Index seen = mask == Mask::kCausal ? keys - queries + r + 1 : keys;
      exact.run(oracle, {{int(r), 1, 0, 1}}, {{0, int(seen)}}, mask);
      for (Index c = 0; c < heads * size; ++c) {
        const double expected = exact.o.row(r)[c];
        worst = std::max(worst, std::abs(double(op->o.row(r)[c]) - expected));
        squares += expected * expected;
        ++count;
      }
    }
    return worst / std::sqrt(squares / count);
  };
  const bool causal = mask == Mask::kCausal;
  const double pairs = double(queries) * (double(keys) - (causal ? double(queries - 1) / 2 : 0));
  const double bytes = double(keys * key_heads * size) * 2 * sizeof(Kv) + 2 * double(queries * heads * size) * 4;
  const Unit unit = unit_of(std::is_same_v<Kv, bf16> ? Format::kBf16 : Format::kF32, dev);
  // Scores in bf16 round queries and probabilities by up to 2^-9 each; the largest error stands beyond the mean.
  const double tolerance = unit == Unit::kBf16 ? 0.02 : 1e-4;
  return {run, error, tolerance, {4 * pairs * double(heads * size), bytes, unit, tier_of(bytes, dev.threads())}};
}

}  // namespace

PreparedOp prepare_attention(cpu::Device& dev, const std::vector<Index>& shape, Format keys, Mask mask) {
  if (keys == Format::kBf16) return prepare<bf16>(dev, shape, mask);
  return prepare<float>(dev, shape, mask);
}

}  // namespace facellava::bench
