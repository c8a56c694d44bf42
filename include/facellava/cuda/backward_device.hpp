// The CUDA device with the ops of training: backward, losses and optimisers (core/backward_ops.hpp). Programs that only
// ask models do not include it. Definitions: cuda/backward_definitions.cuh, which cuda/definitions.cuh brings along.
//
// No float atomics, every sum in a fixed order: the same call gives the same bits. Products are cuBLASLt's.
#pragma once
#include <span>

#include "facellava/core/backward_ops.hpp"
#include "facellava/cuda/device.hpp"

namespace facellava::cuda {

// One tensor of an optimiser's step, as it lies on the device: [rows, width]. Strides in elements.
struct TensorUpdate {
  float* w = nullptr;                // the weights, or, where rounded is there, their fp32 master or null
  void* rounded = nullptr;           // bf16: what the weights are rounded to; null: w is all there is
  float *m = nullptr, *v = nullptr;  // moments; of sgd m may be null
  const float* dw = nullptr;
  Index rows = 0, width = 0;
  Index w_stride = 0, rounded_stride = 0, m_stride = 0, v_stride = 0, dw_stride = 0;
  double rate = 1, decay = 1;  // times those of the step
};

class BackwardDevice : public Device {
 public:
  using Total = View<double, Space, kDyn>;
  using Device::Device;

  // ---- products

  // As linear of many rows: fp32 products, a matrix in another format widened block by block.
  template <class W>
  void linear_dx(Mat dx, CMat dy, const W& w, Write write) {
    multiply_dx(dx, dy, weight_of(w), write);
  }
  template <class DW, class DB>
  void linear_dw(DW dw, DB dbias, CMat dy, CMat x) {
    if constexpr (kPresent<DW>) multiply_dw(dw, dy, x);
    if constexpr (kPresent<DB>) add_columns(dbias, dy);
  }
  void scatter_add_rows(Mat dx, CMat dy, Array<int> index);
  void mean_rows(Mat y, CMat x, Array<int> index);
  void mean_rows_backward(Mat dx, CMat dy, Array<int> index);

  // ---- norms and elementwise

  template <class DW>
  void rms_norm_backward(Mat dx, DW dw, CMat dy, CVec rstd, CMat x, CVec w, Write write) {
    norm_backward(dx, wanted(dw), Vec(), dy, CVec(), rstd, x, w, write);
  }
  template <class DW, class DB>
  void layer_norm_backward(Mat dx, DW dw, DB db, CMat dy, CVec mean, CVec rstd, CMat x, CVec w, Write write) {
    norm_backward(dx, wanted(dw), wanted(db), dy, mean, rstd, x, w, write);
  }
  void gelu_backward(Mat dx, CMat dy, CMat x);
  void swiglu_backward(Mat dgate, Mat dup, CMat dy, CMat gate, CMat up);
  template <class V>
  void fill(V x, float a) {
    Mat flat(x.data, x.rows(), x.row_size());
    flat.stride = x.stride;
    fill_rows(flat, a);
  }

  // ---- attention

  // As attention. dk and dv of a row that several sequences or heads see are their sums in order.
  void attention_backward(Ten dq, Ten dk, Ten dv, CTen d_o, CTen o, CMat lse, CTen q, CTen k, CTen v,
                          Array<Sequence> sequences, Array<KvRange> ranges, Mask mask, float scale);
  // Up to 32 regions.
  template <class DB>
  void region_attention_backward(Ten dq, Ten dk, Ten dv, DB dbias, CTen d_o, CTen p, CTen q, CTen k, CTen v,
                                 float scale) {
    Mat wanted_bias;
    if constexpr (kPresent<DB>) wanted_bias = dbias;
    region_backward(dq, dk, dv, wanted_bias, d_o, p, q, k, v, scale);
  }
  void region_bias_backward(Vec ds, CMat dbias, CMat points, float a, ClassToken token, int n);

  // ---- loss

  void cross_entropy(Vec nll, Mat logits, Array<int> labels, float scale);
  void binary_cross_entropy(Mat loss, Mat logits, CMat targets, float scale);
  void regression_loss(Mat loss, Mat y, CMat targets, Distance distance, float scale);

  // ---- optimisers; the total of sum_squares lies on the device

  void sum_squares(Total total, CMat x) {
    const TensorUpdate one{.dw = x.data, .rows = x.rows(), .width = x.size(1), .dw_stride = x.stride};
    sum_squares(total, std::span(&one, 1));
  }
  template <class W, class Master>
  void adamw(W w, Master master, Mat m, Mat v, CMat dw, const AdamW& how, int step) {
    TensorUpdate one = update_of(w, master, dw);
    one.m = m.data;
    one.m_stride = m.stride;
    one.v = v.data;
    one.v_stride = v.stride;
    adamw(std::span(&one, 1), how, step);
  }
  template <class W, class Master, class M>
  void sgd(W w, Master master, M m, CMat dw, const Sgd& how) {
    TensorUpdate one = update_of(w, master, dw);
    if constexpr (kPresent<M>) {
      one.m = m.data;
      one.m_stride = m.stride;
    }
    sgd(std::span(&one, 1), how);
  }
  // The same for many tensors, a few dozen a launch. totals[i] += Σ dw² of tensors[i].
  void sum_squares(Total totals, std::span<const TensorUpdate> tensors);
  void adamw(std::span<const TensorUpdate> tensors, const AdamW& how, int step);
  void sgd(std::span<const TensorUpdate> tensors, const Sgd& how);

 private:
  static Vec wanted(None) { return Vec(); }
  static Vec wanted(Vec v) { return v; }

  template <class W, class Master>
  static TensorUpdate update_of(W w, Master master, CMat dw) {
    TensorUpdate t{.dw = dw.data, .rows = dw.rows(), .width = dw.size(1), .dw_stride = dw.stride};
    if constexpr (std::is_same_v<typename W::Element, bf16>) {
      t.rounded = w.data;
      t.rounded_stride = w.stride;
      if constexpr (kPresent<Master>) {
        t.w = master.data;
        t.w_stride = master.stride;
      }
    } else {
      static_assert(!kPresent<Master>, "fp32 weights have no master");
      t.w = w.data;
      t.w_stride = w.stride;
    }
    return t;
  }

  // A view without data: not wanted, or not there.
  void multiply_dx(Mat dx, CMat dy, const Weight& w, Write write);
  void multiply_dw(Mat dw, CMat dy, CMat x);
  void add_columns(Vec sums, CMat x);
  void norm_backward(Mat dx, Vec dw, Vec db, CMat dy, CVec mean, CVec rstd, CMat x, CVec w, Write write);
  void fill_rows(Mat x, float a);
  void region_backward(Ten dq, Ten dk, Ten dv, Mat dbias, CTen d_o, CTen p, CTen q, CTen k, CTen v, float scale);
};

}  // namespace facellava::cuda
