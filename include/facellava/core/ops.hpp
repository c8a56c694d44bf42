// The op set: one documented, checked front door per op. It checks memory spaces and sizes (at compile time where both
// sizes are static), makes inputs const, forgets static sizes and calls the device's member of the same name.
// Devices see run-time sizes only, so no kernel depends on a model's configuration.
// r = rows: all tokens of all sequences, unpadded. "=" writes, "+=" adds. Outputs alias inputs only where marked.
#pragma once
#include "facellava/core/regions.hpp"
#include "facellava/core/sequence.hpp"
#include "facellava/core/weight.hpp"

namespace facellava {

// ---- what the front doors are made of

consteval Index forget(Index) { return kDyn; }
template <class T, class S, Index... D>
constexpr auto out(View<T, S, D...> v) {
  return View<T, S, forget(D)...>(v);
}
template <class T, class S, Index... D>
constexpr auto in(View<T, S, D...> v) {
  return View<const T, S, forget(D)...>(v);
}
template <class S, Index... D>
constexpr auto in(const StoredTensor<S, D...>& w) {
  StoredTensor<S, forget(D)...> o{w.data, w.format, {}, w.nf4};
  for (int d = 0; d < o.kRank; ++d) o.sizes[d] = w.sizes[d];
  return o;
}
constexpr None in(None n) { return n; }
constexpr None out(None n) { return n; }

// Dimension a of x equals dimension b of y: a compile error where both are static, an Error otherwise.
template <int a, int b, class X, class Y>
constexpr void same(const X& x, const Y& y, const char* what) {
  if constexpr (!std::is_same_v<X, None> && !std::is_same_v<Y, None>) {
    static_assert(X::kStatic[a] == kDyn || Y::kStatic[b] == kDyn || X::kStatic[a] == Y::kStatic[b],
                  "an op was given views whose static sizes differ");
    check_equal(x.size(a), y.size(b), what);
  }
}
template <class D, class V>
constexpr bool in_space() {
  if constexpr (std::is_same_v<V, None>)
    return true;
  else
    return std::is_same_v<typename V::Memory, typename D::Space>;
}
template <class D, class... V>
constexpr void here() {
  static_assert((in_space<D, V>() && ...), "an op was given a view in another memory space than its device's");
}

// ---- products

// y = x Wᵀ + bias + residual.   y, residual [r, out], x [r, in], W [out, in], bias [out].  =
// bias and residual may be None. residual may be y.
template <class D, class Y, class X, class W, class B, class R>
void linear(D& dev, Y y, X x, const W& w, const B& bias, R residual) {
  here<D, Y, X, W, B, R>();
  same<0, 0>(y, x, "linear: rows of y and x");
  same<0, 1>(w, y, "linear: rows of W and width of y");
  same<1, 1>(w, x, "linear: columns of W and width of x");
  same<0, 1>(bias, y, "linear: bias and width of y");
  same<0, 0>(residual, y, "linear: rows of the residual");
  same<1, 1>(residual, y, "linear: width of the residual");
  dev.linear(out(y), in(x), in(w), in(bias), in(residual));
}

// y[i] = W[ids[i]]; rows with ids[i] < 0 stay (the splice fills them).   y [r, n], ids [r] int, W [vocabulary, n].  =
template <class D, class Y, class I, class W>
void embed(D& dev, Y y, I ids, const W& w) {
  here<D, Y, I, W>();
  same<0, 0>(y, ids, "embed: rows of y and ids");
  same<1, 1>(y, w, "embed: width");
  dev.embed(out(y), in(ids), in(w));
}

// y[i] += W[ids[i]]: class, position and temporal embeddings.   y [r, n], ids [r] int, W [m, n].  +=
template <class D, class Y, class I, class W>
void add_rows(D& dev, Y y, I ids, const W& w) {
  here<D, Y, I, W>();
  same<0, 0>(y, ids, "add_rows: rows of y and ids");
  same<1, 1>(y, w, "add_rows: width");
  dev.add_rows(out(y), in(ids), in(w));
}

// y[i] = x[index[i]]; rows with index[i] < 0 stay.   y [r, n], x [m, n], index [r] int.  =
template <class D, class Y, class X, class I>
void gather_rows(D& dev, Y y, X x, I index) {
  here<D, Y, X, I>();
  same<0, 0>(y, index, "gather_rows: rows of y and index");
  same<1, 1>(y, x, "gather_rows: width");
  dev.gather_rows(out(y), in(x), in(index));
}

// The patches of each frame as rows, in the order of a convolution's kernel (channel, y, x); row 0 of each frame, the
// class token's, is zero.   cols [frames (1 + (side / patch)²), 3 patch²], pixels [frames, 3 side²].  =
template <class D, class C, class X>
void im2col(D& dev, C cols, X pixels, int side, int patch) {
  here<D, C, X>();
  const Index n = side / patch;
  check_equal(pixels.rows() * (1 + n * n), cols.rows(), "im2col: rows");
  check_equal(3 * patch * patch, cols.size(1), "im2col: width");
  check_equal(3 * side * side, pixels.size(1), "im2col: pixels of a frame");
  dev.im2col(out(cols), in(pixels), side, patch);
}

// ---- norms and elementwise

// y = x / sqrt(mean(x²) + eps) · w.   x, y [r, n], rstd [r], w [n].  =
template <class D, class Y, class R, class X, class W>
void rms_norm(D& dev, Y y, R rstd, X x, const W& w, float eps) {
  here<D, Y, R, X, W>();
  same<0, 0>(y, x, "rms_norm: rows");
  same<1, 1>(y, x, "rms_norm: width");
  same<0, 1>(w, x, "rms_norm: weight and width");
  same<0, 0>(rstd, x, "rms_norm: rstd and rows");
  dev.rms_norm(out(y), out(rstd), in(x), in(w), eps);
}

// y = (x − mean) / sqrt(var + eps) · w + b.   x, y [r, n], mean, rstd [r], w, b [n].  =
template <class D, class Y, class M, class R, class X, class W, class B>
void layer_norm(D& dev, Y y, M mean, R rstd, X x, const W& w, const B& b, float eps) {
  here<D, Y, M, R, X, W, B>();
  same<0, 0>(y, x, "layer_norm: rows");
  same<1, 1>(y, x, "layer_norm: width");
  same<0, 1>(w, x, "layer_norm: weight and width");
  same<0, 1>(b, x, "layer_norm: bias and width");
  same<0, 0>(mean, x, "layer_norm: mean and rows");
  same<0, 0>(rstd, x, "layer_norm: rstd and rows");
  dev.layer_norm(out(y), out(mean), out(rstd), in(x), in(w), in(b), eps);
}

// y = x Φ(x), by erf.   x, y [r, n].  =
template <class D, class Y, class X>
void gelu(D& dev, Y y, X x) {
  here<D, Y, X>();
  same<0, 0>(y, x, "gelu: rows");
  same<1, 1>(y, x, "gelu: width");
  dev.gelu(out(y), in(x));
}

// y = silu(gate) · up.   y, gate, up [r, n].  =
template <class D, class Y, class G, class U>
void swiglu(D& dev, Y y, G gate, U up) {
  here<D, Y, G, U>();
  same<0, 0>(y, gate, "swiglu: rows");
  same<0, 0>(y, up, "swiglu: rows");
  same<1, 1>(y, gate, "swiglu: width");
  same<1, 1>(y, up, "swiglu: width");
  dev.swiglu(out(y), in(gate), in(up));
}

// y += a x.   x, y [r, n].
template <class D, class Y, class X>
void axpy(D& dev, Y y, X x, float a) {
  here<D, Y, X>();
  same<0, 0>(y, x, "axpy: rows");
  same<1, 1>(y, x, "axpy: width");
  dev.axpy(out(y), in(x), a);
}

// Rotates the pairs (k, D/2 + k) of every head by its position's angle; kInverse is the backward. In place.
// x [r, H, D], positions [r] int, table [positions, D]: cosines, then sines.
template <class D, class X, class P, class T>
void rope(D& dev, X x, P positions, T table, Rotate way) {
  here<D, X, P, T>();
  same<0, 0>(x, positions, "rope: rows and positions");
  same<1, 2>(table, x, "rope: width of the table and head size");
  dev.rope(out(x), in(positions), in(table), way);
}

// ---- attention

// o = softmax(scale q kᵀ + mask) v, lse = its log-sum-exp; who sees whom: core/sequence.hpp.  =
// o, q [r, H, D], k, v [slab rows, Hkv, D] (query head h reads head h Hkv / H), lse [r, H].
template <class D, class O, class L, class Q, class K, class V, class S, class R>
void attention(D& dev, O o, L lse, Q q, K k, V v, S sequences, R ranges, Mask mask, float scale) {
  here<D, O, L, Q, K, V, S, R>();
  same<0, 0>(o, q, "attention: rows of o and q");
  same<1, 1>(o, q, "attention: heads of o and q");
  same<2, 2>(o, q, "attention: head size of o and q");
  same<2, 2>(k, q, "attention: head size of k and q");
  same<0, 0>(k, v, "attention: rows of k and v");
  same<1, 1>(k, v, "attention: heads of k and v");
  same<2, 2>(k, v, "attention: head size of k and v");
  same<0, 0>(lse, q, "attention: rows of lse");
  same<1, 1>(lse, q, "attention: heads of lse");
  dev.attention(out(o), out(lse), in(q), in(k), in(v), in(sequences), in(ranges), mask, scale);
}

// slab_k[slots[i]] = k[i], and v alike.   slabs [slab rows, Hkv, D], k, v [r, Hkv, D], slots [r] int. The slabs may be
// k and v themselves where slots[i] = i: training.
template <class D, class SK, class SV, class K, class V, class I>
void kv_append(D& dev, SK slab_k, SV slab_v, K k, V v, I slots) {
  here<D, SK, SV, K, V, I>();
  same<0, 0>(k, v, "kv_append: rows of k and v");
  same<0, 0>(k, slots, "kv_append: rows and slots");
  same<1, 1>(slab_k, k, "kv_append: heads");
  same<2, 2>(slab_k, k, "kv_append: head size");
  same<1, 1>(slab_v, v, "kv_append: heads");
  same<2, 2>(slab_v, v, "kv_append: head size");
  dev.kv_append(out(slab_k), out(slab_v), in(k), in(v), in(slots));
}

// The additive bias of the region attention (core/regions.hpp).
// bias [frames tokens, regions], points [frames, 2 · 68] (x, y interleaved, 0..1). kDistance: the scale is a times the
// view stored [1], or a alone where that is None.  =
// Tokens of a frame: its n × n patches row by row, behind a class token if there is one (distance 0 to every region).
template <class D, class B, class P, class S>
void region_bias(D& dev, B bias, P points, S stored, float a, RegionBias kind, ClassToken token, int n) {
  here<D, B, P, S>();
  check_equal(points.rows() * (n * n + (token == ClassToken::kFirst)), bias.rows(), "region_bias: rows");
  dev.region_bias(out(bias), in(points), in(stored), a, kind, token, n);
}

// p = softmax(scale q kᵀ + bias) over the regions of a token's frame, o = p v.  =
// o, q [r, H, D]; k, v [frames regions, H, D]; p [r, H, regions], kept for pictures and backward; bias [r, regions] or
// None. Each frame has r / frames tokens.
template <class D, class O, class P, class Q, class K, class V, class B>
void region_attention(D& dev, O o, P p, Q q, K k, V v, B bias, float scale) {
  here<D, O, P, Q, K, V, B>();
  same<0, 0>(o, q, "region_attention: rows of o and q");
  same<1, 1>(o, q, "region_attention: heads of o and q");
  same<2, 2>(o, q, "region_attention: head size of o and q");
  same<0, 0>(p, q, "region_attention: rows of p");
  same<1, 1>(p, q, "region_attention: heads of p");
  same<0, 0>(k, v, "region_attention: rows of k and v");
  same<1, 1>(k, q, "region_attention: heads of k and q");
  same<2, 2>(k, q, "region_attention: head size of k and q");
  same<1, 1>(v, q, "region_attention: heads of v and q");
  same<2, 2>(v, q, "region_attention: head size of v and q");
  same<0, 0>(bias, q, "region_attention: rows of the bias");
  same<1, 2>(bias, p, "region_attention: regions of the bias");
  check_equal(0, k.rows() % p.size(2), "region_attention: rows of k over whole frames");
  dev.region_attention(out(o), out(p), in(q), in(k), in(v), in(bias), scale);
}

// The same attention with the nine keys and values of a frame folded into the matrices around it, so that x meets
// F H 9 rows in place of a whole matrix (layers/region_attention.hpp). Rows of a: (frame, head, region).

// a = Σ_d k[.., d] W[h D + d], c = Σ_d k[.., d] b[h D + d].   a [F H 9, in], c [F H 9], k [F 9, H, D], W [H D, in],
// b [H D].  =
template <class D, class A, class C, class K, class W, class B>
void fold_keys(D& dev, A a, C c, K k, const W& w, const B& b) {
  here<D, A, C, K, W, B>();
  same<1, 1>(a, w, "fold_keys: width of a and columns of W");
  same<0, 0>(a, c, "fold_keys: rows of a and c");
  same<0, 0>(b, w, "fold_keys: bias and rows of W");
  check_equal(k.rows() * k.size(1), a.rows(), "fold_keys: rows of a");
  check_equal(k.row_size(), w.size(0), "fold_keys: rows of W and heads");
  dev.fold_keys(out(a), out(c), in(k), in(w), in(b));
}
// a = Σ_d v[.., d] W[:, h D + d].   a [F H 9, out], v [F 9, H, D], W [out, H D].  =
template <class D, class A, class V, class W>
void fold_values(D& dev, A a, V v, const W& w) {
  here<D, A, V, W>();
  same<1, 0>(a, w, "fold_values: width of a and rows of W");
  check_equal(v.rows() * v.size(1), a.rows(), "fold_values: rows of a");
  check_equal(v.row_size(), w.size(1), "fold_values: columns of W and heads");
  dev.fold_values(out(a), in(v), in(w));
}
// p = softmax(scale (x aᵀ + c) + bias) over the regions of a token's frame.   p [r, H, 9], x [r, in], a [F H 9, in],
// c [F H 9], bias [r, 9] or None.  =
template <class D, class P, class X, class A, class C, class B>
void region_scores(D& dev, P p, X x, A a, C c, B bias, float scale) {
  here<D, P, X, A, C, B>();
  same<0, 0>(p, x, "region_scores: rows of p and x");
  same<1, 1>(a, x, "region_scores: width of a and x");
  same<0, 0>(a, c, "region_scores: rows of a and c");
  same<0, 0>(bias, x, "region_scores: rows of the bias");
  check_equal(0, a.rows() % p.row_size(), "region_scores: rows of a over whole frames");
  dev.region_scores(out(p), in(x), in(a), in(c), in(bias), scale);
}
// y = p a + b + residual.   y, residual [r, out], p [r, H, 9], a [F H 9, out], b [out] or None.  =  residual may be y.
template <class D, class Y, class P, class A, class B, class R>
void region_sum(D& dev, Y y, P p, A a, const B& b, R residual) {
  here<D, Y, P, A, B, R>();
  same<0, 0>(y, p, "region_sum: rows of y and p");
  same<1, 1>(y, a, "region_sum: width of y and a");
  same<0, 1>(b, y, "region_sum: bias and width of y");
  same<0, 0>(residual, y, "region_sum: rows of the residual");
  same<1, 1>(residual, y, "region_sum: width of the residual");
  check_equal(0, a.rows() % p.row_size(), "region_sum: rows of a over whole frames");
  dev.region_sum(out(y), in(p), in(a), in(b), in(residual));
}

// ---- words

// scores[i] = log softmax(logits[i])[ids[i]].   scores, ids [r], logits [r, vocabulary].  =
template <class D, class O, class L, class I>
void log_prob(D& dev, O scores, L logits, I ids) {
  here<D, O, L, I>();
  same<0, 0>(scores, logits, "log_prob: rows");
  same<0, 0>(ids, logits, "log_prob: ids");
  dev.log_prob(out(scores), in(logits), in(ids));
}

// ids[i] = the first maximum of logits[i].   ids [r] int, logits [r, vocabulary].  =
template <class D, class I, class L>
void argmax(D& dev, I ids, L logits) {
  here<D, I, L>();
  same<0, 0>(ids, logits, "argmax: rows");
  dev.argmax(out(ids), in(logits));
}

// to = from.   Same sizes.
template <class D, class T, class F>
void copy(D& dev, T to, F from) {
  here<D, T, F>();
  same<0, 0>(to, from, "copy: rows");
  check_equal(to.row_size(), from.row_size(), "copy: width");
  dev.copy(out(to), in(from));
}

}  // namespace facellava
