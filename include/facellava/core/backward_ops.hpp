// The backward of the ops of core/ops.hpp, losses and optimisers, as checked front doors: devices have members of the
// same names. The gradient of x is dx. Gradients of parameters are added (+=) in a fixed order; those of activations
// are written (=) or added, as Write says. A gradient that nobody wants is None.
// Training includes this; inference does not.
#pragma once
#include "facellava/core/ops.hpp"

namespace facellava {

// Decoupled weight decay (Loshchilov, Hutter 2019); the defaults are those of torch.optim.AdamW but for the decay.
struct AdamW {
  double rate, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decay = 0;
  double scale = 1;  // of the gradient: clipping, averages
};
// As torch.optim.SGD without dampening: the decay is added to the gradient.
struct Sgd {
  double rate, momentum = 0, decay = 0;
  double scale = 1;  // of the gradient
};

namespace detail {

// A leaf of any rank as a matrix.
template <class V>
constexpr auto as_matrix(V v) {
  if constexpr (!kPresent<V>)
    return v;
  else if constexpr (V::kRank == 1)
    return as_row(v);
  else
    return v;
}

}  // namespace detail

// Slices of a gradient that nobody wants.
template <Index First, Index N>
constexpr None rows(None n) {
  return n;
}
template <Index First, Index N>
constexpr None columns(None n) {
  return n;
}
constexpr None as_row(None n) { return n; }

// ---- products

// dx = or += dy W.   dx [r, in] or None, dy [r, out], W [out, in] in any format.
template <class D, class DX, class DY, class W>
void linear_dx(D& dev, DX dx, DY dy, const W& w, Write write) {
  here<D, DX, DY, W>();
  same<0, 0>(dx, dy, "linear_dx: rows of dx and dy");
  same<0, 1>(w, dy, "linear_dx: rows of W and width of dy");
  same<1, 1>(w, dx, "linear_dx: columns of W and width of dx");
  if constexpr (kPresent<DX>) dev.linear_dx(out(dx), in(dy), in(w), write);
}

// dw += dyᵀ x, dbias += Σ dy.   dw [out, in], dbias [out], either may be None; dy [r, out], x [r, in].
template <class D, class DW, class DB, class DY, class X>
void linear_dw(D& dev, DW dw, DB dbias, DY dy, X x) {
  here<D, DW, DB, DY, X>();
  same<0, 0>(dy, x, "linear_dw: rows of dy and x");
  same<0, 1>(dw, dy, "linear_dw: rows of dw and width of dy");
  same<1, 1>(dw, x, "linear_dw: columns of dw and width of x");
  same<0, 1>(dbias, dy, "linear_dw: dbias and width of dy");
  if constexpr (kPresent<DW> || kPresent<DB>) dev.linear_dw(out(dw), out(dbias), in(dy), in(x));
}

// dw[ids[i]] += dy[i], i ascending; rows with ids[i] < 0 are left out. The backward of embed and of add_rows.
// dw [m, n] or None, dy [r, n], ids [r] int.
template <class D, class DW, class DY, class I>
void embed_dw(D& dev, DW dw, DY dy, I ids) {
  here<D, DW, DY, I>();
  same<0, 0>(dy, ids, "embed_dw: rows of dy and ids");
  same<1, 1>(dw, dy, "embed_dw: width");
  if constexpr (kPresent<DW>) dev.scatter_add_rows(out(dw), in(dy), in(ids));
}

// dx[index[i]] += dy[i], i ascending; rows with index[i] < 0 are left out. The backward of gather_rows.
// dx [m, n] or None, dy [r, n], index [r] int.
template <class D, class DX, class DY, class I>
void scatter_add_rows(D& dev, DX dx, DY dy, I index) {
  here<D, DX, DY, I>();
  same<0, 0>(dy, index, "scatter_add_rows: rows of dy and index");
  same<1, 1>(dx, dy, "scatter_add_rows: width");
  if constexpr (kPresent<DX>) dev.scatter_add_rows(out(dx), in(dy), in(index));
}

// y[i] = mean over j of x[index[i k + j]], k = rows of index / rows of y.   y [r, n], x [m, n], index [r k] int.  =
template <class D, class Y, class X, class I>
void mean_rows(D& dev, Y y, X x, I index) {
  here<D, Y, X, I>();
  same<1, 1>(y, x, "mean_rows: width");
  check_equal(0, y.rows() ? index.rows() % y.rows() : index.rows(), "mean_rows: rows of index over whole rows of y");
  dev.mean_rows(out(y), in(x), in(index));
}

// dx[index[i k + j]] += dy[i] / k, i and j ascending.   dx [m, n] or None, dy [r, n], index [r k] int.
template <class D, class DX, class DY, class I>
void mean_rows_backward(D& dev, DX dx, DY dy, I index) {
  here<D, DX, DY, I>();
  same<1, 1>(dx, dy, "mean_rows_backward: width");
  check_equal(0, dy.rows() ? index.rows() % dy.rows() : index.rows(),
              "mean_rows_backward: rows of index over whole rows of dy");
  if constexpr (kPresent<DX>) dev.mean_rows_backward(out(dx), in(dy), in(index));
}

// ---- norms and elementwise

// x̂ = x rstd:   dx = or += rstd (w dy − x̂ mean(w dy x̂)), dw += Σ dy x̂.   dx, dy, x [r, n], rstd [r], w [n],
// dw [n] or None. dx may not be dy.
template <class D, class DX, class DW, class DY, class R, class X, class W>
void rms_norm_backward(D& dev, DX dx, DW dw, DY dy, R rstd, X x, const W& w, Write write) {
  here<D, DX, DW, DY, R, X, W>();
  same<0, 0>(dx, x, "rms_norm_backward: rows");
  same<1, 1>(dx, x, "rms_norm_backward: width");
  same<0, 0>(dy, x, "rms_norm_backward: rows");
  same<1, 1>(dy, x, "rms_norm_backward: width");
  same<0, 0>(rstd, x, "rms_norm_backward: rstd and rows");
  same<0, 1>(w, x, "rms_norm_backward: weight and width");
  same<0, 1>(dw, x, "rms_norm_backward: dw and width");
  dev.rms_norm_backward(out(dx), out(dw), in(dy), in(rstd), in(x), in(w), write);
}

// x̂ = (x − mean) rstd:   dx = or += rstd (w dy − mean(w dy) − x̂ mean(w dy x̂)), dw += Σ dy x̂, db += Σ dy.
// dx, dy, x [r, n], mean, rstd [r], w [n], dw, db [n] or None. dx may not be dy.
template <class D, class DX, class DW, class DB, class DY, class M, class R, class X, class W>
void layer_norm_backward(D& dev, DX dx, DW dw, DB db, DY dy, M mean, R rstd, X x, const W& w, Write write) {
  here<D, DX, DW, DB, DY, M, R, X, W>();
  same<0, 0>(dx, x, "layer_norm_backward: rows");
  same<1, 1>(dx, x, "layer_norm_backward: width");
  same<0, 0>(dy, x, "layer_norm_backward: rows");
  same<1, 1>(dy, x, "layer_norm_backward: width");
  same<0, 0>(mean, x, "layer_norm_backward: mean and rows");
  same<0, 0>(rstd, x, "layer_norm_backward: rstd and rows");
  same<0, 1>(w, x, "layer_norm_backward: weight and width");
  same<0, 1>(dw, x, "layer_norm_backward: dw and width");
  same<0, 1>(db, x, "layer_norm_backward: db and width");
  dev.layer_norm_backward(out(dx), out(dw), out(db), in(dy), in(mean), in(rstd), in(x), in(w), write);
}

// dx = dy (Φ(x) + x φ(x)).   dx, dy, x [r, n].  =   dx may be dy.
template <class D, class DX, class DY, class X>
void gelu_backward(D& dev, DX dx, DY dy, X x) {
  here<D, DX, DY, X>();
  same<0, 0>(dx, x, "gelu_backward: rows");
  same<1, 1>(dx, x, "gelu_backward: width");
  same<0, 0>(dy, x, "gelu_backward: rows");
  same<1, 1>(dy, x, "gelu_backward: width");
  dev.gelu_backward(out(dx), in(dy), in(x));
}

// s = 1 / (1 + e^−gate):   dup = dy gate s, dgate = dy up s (1 + gate (1 − s)).   All [r, n].  =   dgate or dup may be
// dy.
template <class D, class DG, class DU, class DY, class G, class U>
void swiglu_backward(D& dev, DG dgate, DU dup, DY dy, G gate, U up) {
  here<D, DG, DU, DY, G, U>();
  same<0, 0>(dgate, gate, "swiglu_backward: rows");
  same<1, 1>(dgate, gate, "swiglu_backward: width");
  same<0, 0>(dup, gate, "swiglu_backward: rows");
  same<1, 1>(dup, gate, "swiglu_backward: width");
  same<0, 0>(dy, gate, "swiglu_backward: rows");
  same<1, 1>(dy, gate, "swiglu_backward: width");
  same<0, 0>(up, gate, "swiglu_backward: rows");
  same<1, 1>(up, gate, "swiglu_backward: width");
  dev.swiglu_backward(out(dgate), out(dup), in(dy), in(gate), in(up));
}

// What is added to, or copied into, a gradient that nobody wants.
template <class D, class X>
void axpy(D&, None, X, float) {}
template <class D, class F>
void copy(D&, None, F) {}

// x = a.   Any rank.
template <class D, class X>
void fill(D& dev, X x, float a) {
  here<D, X>();
  if constexpr (kPresent<X>) dev.fill(out(detail::as_matrix(x)), a);
}

// ---- attention

// p = softmax(scale q kᵀ + mask), recomputed from lse; ds = p (d_o vᵀ − Σ d_o o):
//   dq = scale ds k, dk += scale dsᵀ q, dv += pᵀ d_o; query rows in order.
// dq, d_o, o, q [r, H, D], dk, dv, k, v [slab rows, Hkv, D], lse [r, H]. A query row belongs to one sequence.
template <class D, class DQ, class DK, class DV, class DO, class O, class L, class Q, class K, class V, class S,
          class R>
void attention_backward(D& dev, DQ dq, DK dk, DV dv, DO d_o, O o, L lse, Q q, K k, V v, S sequences, R ranges,
                        Mask mask, float scale) {
  here<D, DQ, DK, DV, DO, O, L, Q, K, V, S, R>();
  const auto alike = [](const auto& a, const auto& b, const char* what) {
    same<0, 0>(a, b, what);
    same<1, 1>(a, b, what);
    same<2, 2>(a, b, what);
  };
  alike(dq, q, "attention_backward: dq and q");
  alike(d_o, q, "attention_backward: d_o and q");
  alike(o, q, "attention_backward: o and q");
  alike(dk, k, "attention_backward: dk and k");
  alike(dv, k, "attention_backward: dv and k");
  alike(v, k, "attention_backward: v and k");
  same<2, 2>(k, q, "attention_backward: head size of k and q");
  same<0, 0>(lse, q, "attention_backward: rows of lse");
  same<1, 1>(lse, q, "attention_backward: heads of lse");
  dev.attention_backward(out(dq), out(dk), out(dv), in(d_o), in(o), in(lse), in(q), in(k), in(v), in(sequences),
                         in(ranges), mask, scale);
}

// ds = p (d_o vᵀ − Σ p d_o vᵀ):   dq = scale ds k, dk = scale dsᵀ q, dv = pᵀ d_o, dbias = Σ_heads ds.
// dq, d_o, q [r, H, D], dk, dv, k, v [frames regions, H, D], p [r, H, regions], dbias [r, regions] or None.
template <class D, class DQ, class DK, class DV, class DB, class DO, class P, class Q, class K, class V>
void region_attention_backward(D& dev, DQ dq, DK dk, DV dv, DB dbias, DO d_o, P p, Q q, K k, V v, float scale) {
  here<D, DQ, DK, DV, DB, DO, P, Q, K, V>();
  const auto alike = [](const auto& a, const auto& b, const char* what) {
    same<0, 0>(a, b, what);
    same<1, 1>(a, b, what);
    same<2, 2>(a, b, what);
  };
  alike(dq, q, "region_attention_backward: dq and q");
  alike(d_o, q, "region_attention_backward: d_o and q");
  alike(dk, k, "region_attention_backward: dk and k");
  alike(dv, k, "region_attention_backward: dv and k");
  alike(v, k, "region_attention_backward: v and k");
  same<1, 1>(k, q, "region_attention_backward: heads of k and q");
  same<2, 2>(k, q, "region_attention_backward: head size of k and q");
  same<0, 0>(p, q, "region_attention_backward: rows of p");
  same<1, 1>(p, q, "region_attention_backward: heads of p");
  same<0, 0>(dbias, q, "region_attention_backward: rows of dbias");
  same<1, 2>(dbias, p, "region_attention_backward: regions of dbias");
  check_equal(0, k.rows() % p.size(2), "region_attention_backward: rows of k over whole frames");
  dev.region_attention_backward(out(dq), out(dk), out(dv), out(dbias), in(d_o), in(p), in(q), in(k), in(v), scale);
}

// The gradient of the stored scale of a region_bias of kind kDistance: ds += −a Σ dbias · distance.   ds [1] or None.
// Points get no gradient through their distances: the released code detaches them.
template <class D, class DS, class DB, class P>
void region_bias_backward(D& dev, DS ds, DB dbias, P points, float a, ClassToken token, int n) {
  here<D, DS, DB, P>();
  check_equal(points.rows() * (n * n + (token == ClassToken::kFirst)), dbias.rows(), "region_bias_backward: rows");
  if constexpr (kPresent<DS>) dev.region_bias_backward(out(ds), in(dbias), in(points), a, token, n);
}

// ---- loss

// nll[i] = −log softmax(logits[i])[labels[i]]; logits become scale · its gradient, in place. A label below 0 is not
// counted: nll 0, gradient 0.   nll, labels [r], logits [r, vocabulary].  =
template <class D, class N, class L, class I>
void cross_entropy(D& dev, N nll, L logits, I labels, float scale) {
  here<D, N, L, I>();
  same<0, 0>(nll, logits, "cross_entropy: rows");
  same<0, 0>(labels, logits, "cross_entropy: labels");
  dev.cross_entropy(out(nll), out(logits), in(labels), scale);
}

// loss = −t log σ(x) − (1 − t) log(1 − σ(x)); the logits x become scale · its gradient, in place. A target below 0 is
// not counted: loss 0, gradient 0.   loss, logits, targets [r, n].  =
template <class D, class L, class X, class T>
void binary_cross_entropy(D& dev, L loss, X logits, T targets, float scale) {
  here<D, L, X, T>();
  same<0, 0>(loss, logits, "binary_cross_entropy: rows");
  same<1, 1>(loss, logits, "binary_cross_entropy: width");
  same<0, 0>(targets, logits, "binary_cross_entropy: rows of the targets");
  same<1, 1>(targets, logits, "binary_cross_entropy: width of the targets");
  dev.binary_cross_entropy(out(loss), out(logits), in(targets), scale);
}

// With e = y − t:   kSquared: e²;   kSmoothL1: e² / 2 where |e| < 1, else |e| − 1/2 (torch.nn.SmoothL1Loss).
enum class Distance { kSquared, kSmoothL1 };
// loss = the distance; y becomes scale · its gradient, in place. A target that is not a number is not counted: loss 0,
// gradient 0.   loss, y, targets [r, n].  =
template <class D, class L, class Y, class T>
void regression_loss(D& dev, L loss, Y y, T targets, Distance distance, float scale) {
  here<D, L, Y, T>();
  same<0, 0>(loss, y, "regression_loss: rows");
  same<1, 1>(loss, y, "regression_loss: width");
  same<0, 0>(targets, y, "regression_loss: rows of the targets");
  same<1, 1>(targets, y, "regression_loss: width of the targets");
  dev.regression_loss(out(loss), out(y), in(targets), distance, scale);
}

// ---- optimisers

// total += Σ x².   total [1] double, x of any rank, or None.
template <class D, class T, class X>
void sum_squares(D& dev, T total, X x) {
  here<D, T, X>();
  if constexpr (kPresent<X>) dev.sum_squares(out(total), in(detail::as_matrix(x)));
}

// g = scale · dw, m = β₁ m + (1 − β₁) g, v = β₂ v + (1 − β₂) g², t the number of this step, from 1:
//   w −= rate (decay w + m / (1 − β₁ᵗ) / (sqrt(v / (1 − β₂ᵗ)) + epsilon)).
// All of one shape. w fp32 or bf16; master, fp32: what w is a rounding of, or None. dw None: w stays.
template <class D, class W, class Master, class M, class V, class G>
void adamw(D& dev, W w, Master master, M m, V v, G dw, const AdamW& how, int step) {
  here<D, W, Master, M, V, G>();
  if constexpr (kPresent<G>) {
    const auto flat = [](auto x) { return detail::as_matrix(x); };
    if (step < 1) throw Error(ErrorKind::kArgument, "adamw: expected a step from 1 on, found " + std::to_string(step));
    for (Index count : {m.count(), v.count(), dw.count()}) check_equal(w.count(), count, "adamw: size");
    if constexpr (kPresent<Master>) check_equal(w.count(), master.count(), "adamw: size of the master");
    dev.adamw(out(flat(w)), out(flat(master)), out(flat(m)), out(flat(v)), in(flat(dw)), how, step);
  }
}

// g = scale · dw + decay w, m = momentum m + g, w −= rate m.   As adamw; m may be None where momentum is 0.
template <class D, class W, class Master, class M, class G>
void sgd(D& dev, W w, Master master, M m, G dw, const Sgd& how) {
  here<D, W, Master, M, G>();
  if constexpr (kPresent<G>) {
    const auto flat = [](auto x) { return detail::as_matrix(x); };
    check_equal(w.count(), dw.count(), "sgd: size");
    if constexpr (kPresent<M>) check_equal(w.count(), m.count(), "sgd: size of the momentum");
    if constexpr (kPresent<Master>) check_equal(w.count(), master.count(), "sgd: size of the master");
    if (!kPresent<M> && how.momentum != 0)
      throw Error(ErrorKind::kArgument, "sgd: expected a view for the momentum, found none");
    dev.sgd(out(flat(w)), out(flat(master)), out(flat(m)), in(flat(dw)), how);
  }
}

}  // namespace facellava
