// Every op but the products and attention: one line of operands and one of work each. They are verified in full.
#include <memory>
#include <span>

#include "arrays.hpp"
#include "facellava/core/regions.hpp"
#include "facellava/ref/device.hpp"
#include "prepared_op.hpp"

namespace facellava::bench {
namespace {

template <class V>
auto flat(V v) {
  return std::span(v.data, std::size_t(v.count()));
}

// The largest |found − expected|, relative to the root mean square of what was expected.
double largest_error(const auto& found, const auto& expected) {
  double worst = 0, squares = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    double f, e;
    if constexpr (requires { found[i].bits; }) {
      f = to_float(found[i]);
      e = to_float(expected[i]);
    } else {
      f = double(found[i]);
      e = double(expected[i]);
    }
    worst = std::max(worst, std::abs(f - e));
    squares += e * e;
  }
  return worst / std::sqrt(std::max(squares / double(expected.size()), 1e-30));
}

// make(arrays) takes operands of any element type and returns {run(dev), output}. bytes: of all of them.
PreparedOp prepare(cpu::Device& dev, double bytes, auto make, double operations = 0) {
  const auto arrays = std::make_shared<Arrays<float>>();
  const auto timed = make(*arrays);
  const auto error = [make, &dev] {
    Arrays<float> fast_arrays;
    Arrays<double> exact_arrays;
    const auto fast = make(fast_arrays);
    const auto exact = make(exact_arrays);
    ref::Device oracle;
    fast.first(dev);
    exact.first(oracle);
    return largest_error(fast.second, exact.second);
  };
  // fp32 with approximations of exp and erf that are good to a few units in the last place.
  return {[arrays, timed, &dev] { timed.first(dev); },
          error,
          5e-5,
          {operations, bytes, Unit::kFp32, tier_of(bytes, dev.threads())}};
}

PreparedOp prepare_rows(cpu::Device& dev, const std::string& op, Index r, Index n, double unit) {
  if (op == "gather_rows")
    return prepare(dev, 2 * unit, [=](auto& a) {
      const auto y = a.matrix(r, n), x = a.matrix(r, n);
      const auto index = a.ids(r, r);
      return std::pair([=](auto& d) { gather_rows(d, y, x, index); }, flat(y));
    });
  if (op == "rms_norm")
    return prepare(dev, 2 * unit, [=](auto& a) {
      const auto y = a.matrix(r, n), x = a.matrix(r, n);
      const auto rstd = a.vector(r), w = a.vector(n);
      return std::pair([=](auto& d) { rms_norm(d, y, rstd, x, w, 1e-5f); }, flat(y));
    });
  if (op == "layer_norm")
    return prepare(dev, 2 * unit, [=](auto& a) {
      const auto y = a.matrix(r, n), x = a.matrix(r, n);
      const auto mean = a.vector(r), rstd = a.vector(r), w = a.vector(n), b = a.vector(n);
      return std::pair([=](auto& d) { layer_norm(d, y, mean, rstd, x, w, b, 1e-5f); }, flat(y));
    });
  if (op == "gelu")
    return prepare(dev, 2 * unit, [=](auto& a) {
      const auto y = a.matrix(r, n), x = a.matrix(r, n, 4);
      return std::pair([=](auto& d) { gelu(d, y, x); }, flat(y));
    });
  if (op == "swiglu")
    return prepare(dev, 3 * unit, [=](auto& a) {
      const auto y = a.matrix(r, n), gate = a.matrix(r, n, 4), up = a.matrix(r, n);
      return std::pair([=](auto& d) { swiglu(d, y, gate, up); }, flat(y));
    });
  if (op == "axpy")
    return prepare(dev, 3 * unit, [=](auto& a) {
      const auto y = a.matrix(r, n), x = a.matrix(r, n);
      return std::pair([=](auto& d) { axpy(d, y, x, 1e-3f); }, flat(y));
    });
  if (op == "copy")
    return prepare(dev, 2 * unit, [=](auto& a) {
      const auto y = a.matrix(r, n), x = a.matrix(r, n);
      return std::pair([=](auto& d) { copy(d, y, x); }, flat(y));
    });
  if (op == "log_prob")
    return prepare(dev, unit, [=](auto& a) {
      const auto scores = a.vector(r);
      const auto logits = a.matrix(r, n, 8);
      const auto ids = a.ids(r, n);
      return std::pair([=](auto& d) { log_prob(d, scores, logits, ids); }, flat(scores));
    });
  return prepare(dev, unit, [=](auto& a) {
    const auto ids = a.ids(r, n);
    const auto logits = a.matrix(r, n, 8);
    return std::pair([=](auto& d) { argmax(d, ids, logits); }, flat(ids));
  });
}

template <class Kv>
PreparedOp prepare_kv_append(cpu::Device& dev, Index r, Index heads, Index size) {
  return prepare(dev, double(2 * r * heads * size) * (4 + sizeof(Kv)), [=](auto& a) {
    const auto slab_k = a.template keys<Kv>(r, heads, size), slab_v = a.template keys<Kv>(r, heads, size);
    const auto k = a.tensor(r, heads, size), v = a.tensor(r, heads, size);
    const auto slots = a.count_up(r);
    return std::pair([=](auto& d) { kv_append(d, slab_k, slab_v, k, v, slots); }, flat(slab_v));
  });
}

PreparedOp prepare_folds(cpu::Device& dev, const std::string& op, const std::vector<Index>& s, Format f) {
  const Index nine = kRegionCount;
  if (op == "fold_keys") {
    const Index heads = s[0], size = s[1], in = s[2];
    const double bytes = double(heads * size * row_bytes(f, in) + heads * nine * in * 4);
    return prepare(
        dev, bytes,
        [=](auto& a) {
          const auto folded = a.matrix(heads * nine, in);
          const auto offsets = a.vector(heads * nine), b = a.vector(heads * size);
          const auto k = a.tensor(nine, heads, size);
          const auto w = a.weights(f, heads * size, in);
          return std::pair([=](auto& d) { fold_keys(d, folded, offsets, k, w, b); }, flat(folded));
        },
        2. * double(heads * nine * size * in));
  }
  if (op == "fold_values") {
    const Index heads = s[0], size = s[1], out = s[2];
    const double bytes = double(out * row_bytes(f, heads * size) + heads * nine * out * 4);
    return prepare(
        dev, bytes,
        [=](auto& a) {
          const auto folded = a.matrix(heads * nine, out);
          const auto v = a.tensor(nine, heads, size);
          const auto w = a.weights(f, out, heads * size);
          return std::pair([=](auto& d) { fold_values(d, folded, v, w); }, flat(folded));
        },
        2. * double(heads * nine * size * out));
  }
  const Index tokens = s[0], heads = s[1], width = s[2];
  const double bytes = 4. * double(tokens * (width + heads * nine) + heads * nine * width);
  const double operations = 2. * double(tokens * heads * nine * width);
  if (op == "region_scores")
    return prepare(
        dev, bytes,
        [=](auto& a) {
          const auto p = a.tensor(tokens, heads, nine);
          const auto x = a.matrix(tokens, width), folded = a.matrix(heads * nine, width);
          const auto offsets = a.vector(heads * nine);
          return std::pair([=](auto& d) { region_scores(d, p, x, folded, offsets, None{}, 0.01f); }, flat(p));
        },
        operations);
  return prepare(
      dev, bytes,
      [=](auto& a) {
        const auto p = a.tensor(tokens, heads, nine);
        const auto y = a.matrix(tokens, width), folded = a.matrix(heads * nine, width);
        const auto b = a.vector(width);
        return std::pair([=](auto& d) { region_sum(d, y, p, folded, b, None{}); }, flat(y));
      },
      operations);
}

PreparedOp prepare_region_attention(cpu::Device& dev, Index tokens, Index heads, Index size) {
  const Index nine = kRegionCount;
  return prepare(
      dev, 4. * double(2 * (tokens + nine) * heads * size),
      [=](auto& a) {
        const auto o = a.tensor(tokens, heads, size), q = a.tensor(tokens, heads, size);
        const auto k = a.tensor(nine, heads, size), v = a.tensor(nine, heads, size), p = a.tensor(tokens, heads, nine);
        const auto bias = a.matrix(tokens, nine);
        return std::pair([=](auto& d) { region_attention(d, o, p, q, k, v, bias, 0.05f); }, flat(o));
      },
      4. * double(tokens * nine * heads * size));
}

}  // namespace

PreparedOp prepare_op(cpu::Device& dev, const Case& c, Format f) {
  const auto& s = c.shape;
  const Takes takes = find_op(c.op).takes;
  if (takes == Takes::kKeys && f != Format::kF32 && f != Format::kBf16)
    throw Error(ErrorKind::kArgument, c.op + ": keys and values are f32 or bf16, found " + format_name(f));
  if (c.op == "linear") return prepare_linear(dev, s, f);
  if (c.op == "attention") return prepare_attention(dev, s, f, Mask::kFull);
  if (c.op == "causal_attention") return prepare_attention(dev, s, f, Mask::kCausal);
  if (c.op == "kv_append")
    return f == Format::kBf16 ? prepare_kv_append<bf16>(dev, s[0], s[1], s[2])
                              : prepare_kv_append<float>(dev, s[0], s[1], s[2]);
  if (c.op == "region_attention") return prepare_region_attention(dev, s[0], s[1], s[2]);
  if (c.op.starts_with("fold_") || c.op == "region_scores" || c.op == "region_sum")
    return prepare_folds(dev, c.op, s, f);
  if (c.op == "embed" || c.op == "add_rows") {
    const bool adds = c.op == "add_rows";
    return prepare(dev, double(s[0]) * (double(row_bytes(f, s[2])) + double(s[2]) * (adds ? 8 : 4)), [=](auto& a) {
      const auto y = a.matrix(s[0], s[2]);
      const auto ids = a.ids(s[0], s[1]);
      const auto w = a.weights(f, s[1], s[2]);
      return std::pair([=](auto& d) { adds ? add_rows(d, y, ids, w) : embed(d, y, ids, w); }, flat(y));
    });
  }
  if (c.op == "im2col")
    return prepare(dev, 2 * 12. * double(s[0] * s[1] * s[1]), [=](auto& a) {
      const Index n = s[1] / s[2];
      const auto columns = a.matrix(s[0] * (1 + n * n), 3 * s[2] * s[2]), pixels = a.matrix(s[0], 3 * s[1] * s[1]);
      return std::pair([=](auto& d) { im2col(d, columns, pixels, int(s[1]), int(s[2])); }, flat(columns));
    });
  if (c.op == "rope")
    return prepare(dev, 8. * double(s[0] * s[1] * s[2]), [=](auto& a) {
      const auto x = a.tensor(s[0], s[1], s[2]);
      const auto positions = a.ids(s[0], s[0]);
      const auto angles = a.matrix(s[0], s[2], 0.7);
      return std::pair([=](auto& d) { rope(d, x, positions, angles, Rotate::kForward); }, flat(x));
    });
  if (c.op == "region_bias")
    return prepare(dev, 4. * double(s[0] * s[1] * s[1] * kRegionCount), [=](auto& a) {
      const auto bias = a.matrix(s[0] * s[1] * s[1], Index(kRegionCount)), points = a.matrix(s[0], Index(2 * kPoints));
      return std::pair(
          [=](auto& d) {
            region_bias(d, bias, points, None{}, 1.f, RegionBias::kDistance, ClassToken::kNone, int(s[1]));
          },
          flat(bias));
    });
  return prepare_rows(dev, c.op, s[0], s[1], 4. * double(s[0] * s[1]));
}

}  // namespace facellava::bench
