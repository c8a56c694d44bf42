// The reference device's backward; what each op does stands in core/backward_ops.hpp.
#pragma once
#include <cmath>
#include <vector>

#include "facellava/core/backward_ops.hpp"
#include "facellava/ref/image_ops.hpp"
#include "facellava/ref/scalar.hpp"

namespace facellava::ref {

class BackwardOps : public ImageOps {
 public:
  void linear_dx(auto dx, auto dy, const auto& w, Write write) {
    using R = Field<decltype(dx)>;
    std::vector<R> column(dy.size(1));
    for (Index k = 0; k < dx.size(1); ++k) {
      for (Index o = 0; o < dy.size(1); ++o) column[o] = R(w(o, k));
      for (Index r = 0; r < dx.rows(); ++r) {
        R sum{};
        for (Index o = 0; o < dy.size(1); ++o) sum += R(dy(r, o)) * column[o];
        put(dx(r, k), sum, write);
      }
    }
  }
  void linear_dw(auto dw, auto dbias, auto dy, auto x) {
    using R = Field<decltype(dy)>;
    for (Index o = 0; o < dy.size(1); ++o) {
      if constexpr (kPresent<decltype(dw)>)
        for (Index k = 0; k < x.size(1); ++k) {
          R sum{};
          for (Index r = 0; r < x.rows(); ++r) sum += R(dy(r, o)) * R(x(r, k));
          dw(o, k) += sum;
        }
      if constexpr (kPresent<decltype(dbias)>)
        for (Index r = 0; r < x.rows(); ++r) dbias(o) += dy(r, o);
    }
  }
  void scatter_add_rows(auto dx, auto dy, auto index) {
    for (Index r = 0; r < dy.rows(); ++r) {
      if (index(r) < 0) continue;
      check_index(index(r), dx.rows(), "scatter_add_rows: index");
      for (Index c = 0; c < dy.size(1); ++c) dx(index(r), c) += dy(r, c);
    }
  }
  void mean_rows(auto y, auto x, auto index) {
    using R = Field<decltype(y)>;
    const Index k = y.rows() ? index.rows() / y.rows() : 0;
    for (Index i = 0; i < index.rows(); ++i) check_index(index(i), x.rows(), "mean_rows: index");
    for (Index r = 0; r < y.rows(); ++r)
      for (Index c = 0; c < y.size(1); ++c) {
        R sum{};
        for (Index j = 0; j < k; ++j) sum += R(x(index(r * k + j), c));
        y(r, c) = sum / R(k);
      }
  }
  void mean_rows_backward(auto dx, auto dy, auto index) {
    using R = Field<decltype(dy)>;
    const Index k = dy.rows() ? index.rows() / dy.rows() : 0;
    for (Index i = 0; i < index.rows(); ++i) {
      check_index(index(i), dx.rows(), "mean_rows_backward: index");
      for (Index c = 0; c < dy.size(1); ++c) dx(index(i), c) += R(dy(i / k, c)) / R(k);
    }
  }

  void rms_norm_backward(auto dx, auto dw, auto dy, auto rstd, auto x, const auto& w, Write write) {
    using R = Field<decltype(x)>;
    const Index n = x.size(1);
    for (Index r = 0; r < x.rows(); ++r) {
      R mean{};
      for (Index c = 0; c < n; ++c) mean += R(dy(r, c)) * R(w(c)) * R(x(r, c)) * rstd(r);
      mean = mean / R(n);
      for (Index c = 0; c < n; ++c) {
        const R unit = R(x(r, c)) * rstd(r);
        if constexpr (kPresent<decltype(dw)>) dw(c) += R(dy(r, c)) * unit;
        put(dx(r, c), rstd(r) * (R(dy(r, c)) * R(w(c)) - unit * mean), write);
      }
    }
  }
  void layer_norm_backward(auto dx, auto dw, auto db, auto dy, auto mean, auto rstd, auto x, const auto& w,
                           Write write) {
    using R = Field<decltype(x)>;
    const Index n = x.size(1);
    for (Index r = 0; r < x.rows(); ++r) {
      R plain{}, along{};  // means of w dy and of w dy x̂
      for (Index c = 0; c < n; ++c) {
        const R g = R(dy(r, c)) * R(w(c));
        plain += g;
        along += g * (R(x(r, c)) - mean(r)) * rstd(r);
      }
      plain = plain / R(n);
      along = along / R(n);
      for (Index c = 0; c < n; ++c) {
        const R unit = (R(x(r, c)) - mean(r)) * rstd(r);
        if constexpr (kPresent<decltype(dw)>) dw(c) += R(dy(r, c)) * unit;
        if constexpr (kPresent<decltype(db)>) db(c) += dy(r, c);
        put(dx(r, c), rstd(r) * (R(dy(r, c)) * R(w(c)) - plain - unit * along), write);
      }
    }
  }
  void gelu_backward(auto dx, auto dy, auto x) {
    using std::erf, std::exp;
    using R = Field<decltype(x)>;
    for (Index r = 0; r < x.rows(); ++r)
      for (Index c = 0; c < x.size(1); ++c) {
        const R v = x(r, c), below = R(0.5) * (R(1) + erf(v * R(0.7071067811865476)));
        dx(r, c) = R(dy(r, c)) * (below + v * R(0.3989422804014327) * exp(v * v * R(-0.5)));
      }
  }
  void swiglu_backward(auto dgate, auto dup, auto dy, auto gate, auto up) {
    using std::exp;
    using R = Field<decltype(gate)>;
    for (Index r = 0; r < dy.rows(); ++r)
      for (Index c = 0; c < dy.size(1); ++c) {
        const R g = gate(r, c), s = R(1) / (R(1) + exp(-g)), d = dy(r, c);
        dup(r, c) = d * g * s;
        dgate(r, c) = d * R(up(r, c)) * s * (R(1) + g * (R(1) - s));
      }
  }
  void fill(auto x, float a) {
    for (Index r = 0; r < x.rows(); ++r)
      for (Index c = 0; c < x.row_size(); ++c) x.row(r)[c] = a;
  }

  void attention_backward(auto dq, auto dk, auto dv, auto d_o, auto o, auto lse, auto q, auto k, auto v, auto sequences,
                          auto ranges, Mask mask, float scale) {
    using std::exp;
    using R = Field<decltype(q)>;
    const Index width = q.size(2), group = q.size(1) / k.size(1);
    for_each_query(sequences, ranges, mask, [&](Index r, auto keys) {
      for (Index h = 0; h < q.size(1); ++h) {
        const Index g = h / group;
        const R whole = dot(d_o, r, h, o, r, h);
        for (Index d = 0; d < width; ++d) dq(r, h, d) = R{};
        keys([&](Index j) {
          check_index(j, k.rows(), "attention_backward: key row");
          const R p = exp(dot(q, r, h, k, j, g) * R(scale) - R(lse(r, h)));
          const R ds = p * (dot(d_o, r, h, v, j, g) - whole) * R(scale);
          for (Index d = 0; d < width; ++d) {
            dq(r, h, d) += ds * R(k(j, g, d));
            dk(j, g, d) += ds * R(q(r, h, d));
            dv(j, g, d) += p * R(d_o(r, h, d));
          }
        });
      }
    });
  }

  void region_attention_backward(auto dq, auto dk, auto dv, auto dbias, auto d_o, auto p, auto q, auto k, auto v,
                                 float scale) {
    using R = Field<decltype(q)>;
    const Index regions = p.size(2), frames = k.rows() / regions, width = q.size(2);
    fill(dk, 0);
    fill(dv, 0);
    if constexpr (kPresent<decltype(dbias)>) fill(dbias, 0);
    std::vector<R> dp(regions);
    for (Index r = 0; r < q.rows(); ++r) {
      const Index first = r / (q.rows() / frames) * regions;
      for (Index h = 0; h < q.size(1); ++h) {
        R whole{};
        for (Index g = 0; g < regions; ++g) {
          dp[g] = dot(d_o, r, h, v, first + g, h);
          whole += R(p(r, h, g)) * dp[g];
        }
        for (Index d = 0; d < width; ++d) dq(r, h, d) = R{};
        for (Index g = 0; g < regions; ++g) {
          const R ds = R(p(r, h, g)) * (dp[g] - whole);
          if constexpr (kPresent<decltype(dbias)>) dbias(r, g) += ds;
          for (Index d = 0; d < width; ++d) {
            dq(r, h, d) += ds * R(scale) * R(k(first + g, h, d));
            dk(first + g, h, d) += ds * R(scale) * R(q(r, h, d));
            dv(first + g, h, d) += R(p(r, h, g)) * R(d_o(r, h, d));
          }
        }
      }
    }
  }
  void region_bias_backward(auto ds, auto dbias, auto points, float a, ClassToken token, int n) {
    using R = Field<decltype(dbias)>;
    const int first = token == ClassToken::kFirst, tokens = first + n * n;
    for (Index f = 0; f < points.rows(); ++f) {
      const auto centre = region_centroids<R>(points.row(f));
      for (int t = 0; t < tokens; ++t) {
        const auto row = region_bias_row(centre, t - first, n, RegionBias::kDistance, R(a));
        for (int g = 0; g < kRegionCount; ++g) ds(0) += R(dbias(f * tokens + t, g)) * row[g];
      }
    }
  }

  void cross_entropy(auto nll, auto logits, auto labels, float scale) {
    using std::exp, std::log;
    using R = Field<decltype(logits)>;
    for (Index r = 0; r < logits.rows(); ++r) {
      const int label = labels(r);
      if (label >= 0) check_index(label, logits.size(1), "cross_entropy: label");
      R top = logits(r, 0), sum{};
      for (Index c = 1; c < logits.size(1); ++c)
        if (top < R(logits(r, c))) top = logits(r, c);
      for (Index c = 0; c < logits.size(1); ++c) sum += exp(R(logits(r, c)) - top);
      nll(r) = label < 0 ? R{} : top + log(sum) - R(logits(r, label));
      for (Index c = 0; c < logits.size(1); ++c) {
        const R p = exp(R(logits(r, c)) - top) / sum;
        logits(r, c) = label < 0 ? R{} : R(scale) * (c == label ? p - R(1) : p);
      }
    }
  }
  void binary_cross_entropy(auto loss, auto logits, auto targets, float scale) {
    using std::exp, std::log;
    using R = Field<decltype(logits)>;
    for (Index r = 0; r < logits.rows(); ++r)
      for (Index c = 0; c < logits.size(1); ++c) {
        const R x = logits(r, c), t = R(targets(r, c));
        const bool counted = !(t < R{});
        const R small = exp(x < R{} ? x : -x), top = x < R{} ? R{} : x;
        loss(r, c) = counted ? top - t * x + log(R(1) + small) : R{};
        logits(r, c) = counted ? R(scale) * ((x < R{} ? small : R(1)) / (R(1) + small) - t) : R{};
      }
  }
  void regression_loss(auto loss, auto y, auto targets, Distance distance, float scale) {
    using R = Field<decltype(y)>;
    for (Index r = 0; r < y.rows(); ++r)
      for (Index c = 0; c < y.size(1); ++c) {
        const R e = R(y(r, c)) - R(targets(r, c)), size = e < R{} ? -e : e;
        const bool counted = size < R(1) || R{} < size, near = size < R(1);
        if (distance == Distance::kSquared) {
          loss(r, c) = counted ? e * e : R{};
          y(r, c) = counted ? R(2 * scale) * e : R{};
        } else {
          loss(r, c) = !counted ? R{} : near ? R(0.5) * e * e : size - R(0.5);
          y(r, c) = !counted ? R{} : R(scale) * (near ? e : e < R{} ? R(-1) : R(1));
        }
      }
  }

  void sum_squares(auto total, auto x) {
    for (Index r = 0; r < x.rows(); ++r)
      for (Index c = 0; c < x.size(1); ++c) total(0) += double(x(r, c)) * double(x(r, c));
  }
  void adamw(auto w, auto master, auto m, auto v, auto dw, const AdamW& how, int step) {
    using R = Field<decltype(m)>;
    const R first = R(1 - std::pow(how.beta1, step)), second = R(1 - std::pow(how.beta2, step));
    each(w, master, [&](Index r, Index c, R old) {
      const R g = R(how.scale) * R(dw(r, c));
      m(r, c) = R(how.beta1) * m(r, c) + R(1 - how.beta1) * g;
      v(r, c) = R(how.beta2) * v(r, c) + R(1 - how.beta2) * g * g;
      const R root = std::sqrt(v(r, c)) / std::sqrt(second) + R(how.epsilon);
      return old - R(how.rate * how.decay) * old - R(how.rate) / first * m(r, c) / root;
    });
  }
  void sgd(auto w, auto master, auto m, auto dw, const Sgd& how) {
    using R = Field<decltype(dw)>;
    each(w, master, [&](Index r, Index c, R old) {
      R g = R(how.scale) * R(dw(r, c)) + R(how.decay) * old;
      if constexpr (kPresent<decltype(m)>) g = m(r, c) = R(how.momentum) * m(r, c) + g;
      return old - R(how.rate) * g;
    });
  }

 private:
  // w = f(row, column, w), by way of the master if there is one.
  static void each(auto w, auto master, auto f) {
    using R = Field<decltype(w)>;
    for (Index r = 0; r < w.rows(); ++r)
      for (Index c = 0; c < w.size(1); ++c) {
        if constexpr (kPresent<decltype(master)>) {
          master(r, c) = f(r, c, master(r, c));
          put(w(r, c), master(r, c));
        } else {
          put(w(r, c), f(r, c, number<R>(w(r, c))));
        }
      }
  }
};

}  // namespace facellava::ref
