// The reference device: scalar loops over any field (float, double, Dual). Documentation and oracle of every op;
// what each does, with its sizes, stands at its front door in core/ops.hpp. Sizes are checked there.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "facellava/core/ops.hpp"
#include "facellava/ref/backward_ops.hpp"

namespace facellava::ref {

class Device : public BackwardOps {
 public:
  using Space = Host;

  void linear(auto y, auto x, const auto& w, const auto& bias, auto residual) {
    using R = Field<decltype(x)>;
    std::vector<R> row(w.size(1));
    for (Index o = 0; o < y.size(1); ++o) {
      for (Index k = 0; k < w.size(1); ++k) row[k] = R(w(o, k));
      for (Index r = 0; r < y.rows(); ++r) {
        R sum{};
        for (Index k = 0; k < w.size(1); ++k) sum += R(x(r, k)) * row[k];
        if constexpr (kPresent<decltype(bias)>) sum += R(bias(o));
        if constexpr (kPresent<decltype(residual)>) sum += R(residual(r, o));
        y(r, o) = sum;
      }
    }
  }

  void embed(auto y, auto ids, const auto& w) {
    for (Index r = 0; r < y.rows(); ++r) {
      if (ids(r) < 0) continue;
      check_index(ids(r), w.size(0), "embed: id");
      for (Index c = 0; c < y.size(1); ++c) y(r, c) = w(ids(r), c);
    }
  }

  void add_rows(auto y, auto ids, const auto& w) {
    for (Index r = 0; r < y.rows(); ++r) {
      check_index(ids(r), w.size(0), "add_rows: id");
      for (Index c = 0; c < y.size(1); ++c) y(r, c) += w(ids(r), c);
    }
  }

  void gather_rows(auto y, auto x, auto index) {
    for (Index r = 0; r < y.rows(); ++r) {
      if (index(r) < 0) continue;
      check_index(index(r), x.rows(), "gather_rows: index");
      for (Index c = 0; c < y.size(1); ++c) y(r, c) = x(index(r), c);
    }
  }

  void im2col(auto cols, auto pixels, int side, int patch) {
    const Index n = side / patch;
    for (Index f = 0; f < pixels.rows(); ++f) {
      const Index first = f * (1 + n * n);
      for (Index k = 0; k < cols.size(1); ++k) cols(first, k) = 0;
      for (Index i = 0; i < n * n; ++i)
        for (Index c = 0, k = 0; c < 3; ++c)
          for (Index a = 0; a < patch; ++a)
            for (Index b = 0; b < patch; ++b, ++k)
              cols(first + 1 + i, k) = pixels(f, (c * side + i / n * patch + a) * side + i % n * patch + b);
    }
  }

  void rms_norm(auto y, auto rstd, auto x, const auto& w, float eps) {
    using std::sqrt;
    using R = Field<decltype(x)>;
    const Index n = x.size(1);
    for (Index r = 0; r < x.rows(); ++r) {
      R sum{};
      for (Index c = 0; c < n; ++c) sum += R(x(r, c)) * R(x(r, c));
      rstd(r) = R(1) / sqrt(sum / R(n) + R(eps));
      for (Index c = 0; c < n; ++c) y(r, c) = R(x(r, c)) * rstd(r) * R(w(c));
    }
  }

  void layer_norm(auto y, auto mean, auto rstd, auto x, const auto& w, const auto& b, float eps) {
    using std::sqrt;
    using R = Field<decltype(x)>;
    const Index n = x.size(1);
    for (Index r = 0; r < x.rows(); ++r) {
      R sum{}, squares{};
      for (Index c = 0; c < n; ++c) sum += R(x(r, c));
      const R m = sum / R(n);
      for (Index c = 0; c < n; ++c) squares += (R(x(r, c)) - m) * (R(x(r, c)) - m);
      mean(r) = m;
      rstd(r) = R(1) / sqrt(squares / R(n) + R(eps));
      for (Index c = 0; c < n; ++c) y(r, c) = (R(x(r, c)) - m) * rstd(r) * R(w(c)) + R(b(c));
    }
  }

  void gelu(auto y, auto x) {
    using std::erf;
    using R = Field<decltype(x)>;
    for (Index r = 0; r < x.rows(); ++r)
      for (Index c = 0; c < x.size(1); ++c) {
        const R v = x(r, c);
        y(r, c) = R(0.5) * v * (R(1) + erf(v * R(0.7071067811865476)));
      }
  }

  void swiglu(auto y, auto gate, auto up) {
    using std::exp;
    using R = Field<decltype(gate)>;
    for (Index r = 0; r < y.rows(); ++r)
      for (Index c = 0; c < y.size(1); ++c) {
        const R g = gate(r, c);
        y(r, c) = g / (R(1) + exp(-g)) * R(up(r, c));
      }
  }

  void axpy(auto y, auto x, float a) {
    using R = Field<decltype(x)>;
    for (Index r = 0; r < y.rows(); ++r)
      for (Index c = 0; c < y.size(1); ++c) y(r, c) += R(x(r, c)) * R(a);
  }

  void rope(auto x, auto positions, auto table, Rotate way) {
    using R = Field<decltype(x)>;
    const Index half = x.size(2) / 2;
    for (Index r = 0; r < x.rows(); ++r) {
      check_index(positions(r), table.rows(), "rope: position");
      for (Index h = 0; h < x.size(1); ++h)
        for (Index k = 0; k < half; ++k) {
          const R cosine = table(positions(r), k),
                  sine = R(table(positions(r), half + k)) * R(way == Rotate::kForward ? 1 : -1);
          const R a = x(r, h, k), b = x(r, h, half + k);
          x(r, h, k) = a * cosine - b * sine;
          x(r, h, half + k) = b * cosine + a * sine;
        }
    }
  }

  void attention(auto o, auto lse, auto q, auto k, auto v, auto sequences, auto ranges, Mask mask, float scale) {
    using std::log;
    using R = Field<decltype(q)>;
    const Index group = q.size(1) / k.size(1);
    std::vector<R> p;
    for_each_query(sequences, ranges, mask, [&](Index r, auto keys) {
      for (Index h = 0; h < q.size(1); ++h) {
        p.clear();
        keys([&](Index j) {
          check_index(j, k.rows(), "attention: key row");
          p.push_back(dot(q, r, h, k, j, h / group) * R(scale));
        });
        const auto [top, sum] = softmax(p);
        for (Index d = 0; d < q.size(2); ++d) {
          R value{};
          Index n = 0;
          keys([&](Index j) { value += p[n++] * number<R>(v(j, h / group, d)); });
          o(r, h, d) = value;
        }
        lse(r, h) = top + log(sum);
      }
    });
  }

  void kv_append(auto slab_k, auto slab_v, auto k, auto v, auto slots) {
    for (Index r = 0; r < k.rows(); ++r) {
      check_index(slots(r), slab_k.rows(), "kv_append: slot");
      for (Index c = 0; c < k.row_size(); ++c) {
        put(slab_k.row(slots(r))[c], k.row(r)[c]);
        put(slab_v.row(slots(r))[c], v.row(r)[c]);
      }
    }
  }

  void region_bias(auto bias, auto points, auto stored, float a, RegionBias kind, ClassToken token, int n) {
    using R = Field<decltype(points)>;
    R scale = a;
    if constexpr (kPresent<decltype(stored)>) scale = scale * R(stored(0));
    const int first = token == ClassToken::kFirst, tokens = first + n * n;
    for (Index f = 0; f < points.rows(); ++f) {
      const auto centre = region_centroids<R>(points.row(f));
      for (int t = 0; t < tokens; ++t) {
        const auto row = region_bias_row(centre, t - first, n, kind, scale);
        for (int g = 0; g < kRegionCount; ++g) bias(f * tokens + t, g) = row[g];
      }
    }
  }

  void region_attention(auto o, auto p, auto q, auto k, auto v, auto bias, float scale) {
    using R = Field<decltype(q)>;
    const Index regions = p.size(2), frames = k.rows() / regions;
    std::vector<R> weight(regions);
    for (Index r = 0; r < q.rows(); ++r) {
      const Index first = r / (q.rows() / frames) * regions;
      for (Index h = 0; h < q.size(1); ++h) {
        for (Index g = 0; g < regions; ++g) {
          weight[g] = dot(q, r, h, k, first + g, h) * R(scale);
          if constexpr (kPresent<decltype(bias)>) weight[g] += R(bias(r, g));
        }
        softmax(weight);
        for (Index g = 0; g < regions; ++g) p(r, h, g) = weight[g];
        for (Index d = 0; d < q.size(2); ++d) {
          R value{};
          for (Index g = 0; g < regions; ++g) value += weight[g] * R(v(first + g, h, d));
          o(r, h, d) = value;
        }
      }
    }
  }

  void fold_keys(auto a, auto c, auto k, const auto& w, const auto& b) {
    using R = Field<decltype(a)>;
    for (Index r = 0; r < a.rows(); ++r) {
      const auto [row, h] = folded(r, k.size(1));
      for (Index i = 0; i < a.size(1); ++i) a(r, i) = R{};
      c(r) = R{};
      for (Index d = 0; d < k.size(2); ++d) {
        const R key = k(row, h, d);
        for (Index i = 0; i < a.size(1); ++i) a(r, i) += key * R(w(h * k.size(2) + d, i));
        if constexpr (kPresent<decltype(b)>) c(r) += key * R(b(h * k.size(2) + d));
      }
    }
  }
  void fold_values(auto a, auto v, const auto& w) {
    using R = Field<decltype(a)>;
    for (Index r = 0; r < a.rows(); ++r) {
      const auto [row, h] = folded(r, v.size(1));
      for (Index i = 0; i < a.size(1); ++i) {
        R sum{};
        for (Index d = 0; d < v.size(2); ++d) sum += R(v(row, h, d)) * R(w(i, h * v.size(2) + d));
        a(r, i) = sum;
      }
    }
  }
  void region_scores(auto p, auto x, auto a, auto c, auto bias, float scale) {
    using R = Field<decltype(x)>;
    const Index keys = p.row_size(), frames = a.rows() / keys;
    std::vector<R> score(p.size(2));
    for (Index r = 0; r < x.rows(); ++r)
      for (Index h = 0; h < p.size(1); ++h) {
        for (Index g = 0; g < p.size(2); ++g) {
          const Index key = r / (x.rows() / frames) * keys + h * p.size(2) + g;
          R sum = c(key);
          for (Index i = 0; i < x.size(1); ++i) sum += R(x(r, i)) * R(a(key, i));
          score[g] = sum * R(scale);
          if constexpr (kPresent<decltype(bias)>) score[g] += R(bias(r, g));
        }
        softmax(score);
        for (Index g = 0; g < p.size(2); ++g) p(r, h, g) = score[g];
      }
  }
  void region_sum(auto y, auto p, auto a, const auto& b, auto residual) {
    using R = Field<decltype(a)>;
    const Index keys = p.row_size(), frames = a.rows() / keys;
    for (Index r = 0; r < y.rows(); ++r)
      for (Index i = 0; i < y.size(1); ++i) {
        R sum{};
        for (Index k = 0; k < keys; ++k) sum += R(p.row(r)[k]) * R(a(r / (y.rows() / frames) * keys + k, i));
        if constexpr (kPresent<decltype(b)>) sum += R(b(i));
        if constexpr (kPresent<decltype(residual)>) sum += R(residual(r, i));
        y(r, i) = sum;
      }
  }

  void log_prob(auto scores, auto logits, auto ids) {
    using std::exp, std::log;
    using R = Field<decltype(logits)>;
    for (Index r = 0; r < logits.rows(); ++r) {
      check_index(ids(r), logits.size(1), "log_prob: id");
      R top = logits(r, 0), sum{};
      for (Index c = 1; c < logits.size(1); ++c)
        if (top < R(logits(r, c))) top = logits(r, c);
      for (Index c = 0; c < logits.size(1); ++c) sum += exp(R(logits(r, c)) - top);
      scores(r) = R(logits(r, ids(r))) - top - log(sum);
    }
  }

  void argmax(auto ids, auto logits) {
    for (Index r = 0; r < logits.rows(); ++r) {
      Index best = 0;
      for (Index c = 1; c < logits.size(1); ++c)
        if (logits(r, best) < logits(r, c)) best = c;
      ids(r) = int(best);
    }
  }

  void copy(auto to, auto from) {
    for (Index r = 0; r < to.rows(); ++r)
      for (Index c = 0; c < to.row_size(); ++c) to.row(r)[c] = from.row(r)[c];
  }

 private:
  // Row (frame, head, region) of a folded matrix: its row (frame, region) of k or v, and the head.
  static std::pair<Index, Index> folded(Index r, Index heads) {
    const Index frame = r / (heads * kRegionCount);
    return {frame * kRegionCount + r % kRegionCount, r / kRegionCount % heads};
  }

  // p = exp(p − max) / sum; returns max and sum. Nothing to attend to gives nothing: max 0, sum 1.
  template <class R>
  static std::pair<R, R> softmax(std::vector<R>& p) {
    using std::exp;
    if (p.empty()) return {R(0), R(1)};
    R top = p[0], sum{};
    for (const R& s : p)
      if (top < s) top = s;
    for (R& s : p) sum += s = exp(s - top);
    for (R& s : p) s = s / sum;
    return {top, sum};
  }
};

}  // namespace facellava::ref
