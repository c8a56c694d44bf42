// The definitions of cuda::BackwardDevice. cuda/definitions.cuh, which one .cu of a program includes, brings it along.
#pragma once
#include "facellava/cuda/backward_attention.cuh"
#include "facellava/cuda/backward_device.hpp"
#include "facellava/cuda/backward_elementwise.cuh"
#include "facellava/cuda/backward_loss.cuh"
#include "facellava/cuda/backward_norm.cuh"
#include "facellava/cuda/backward_optimizer.cuh"
#include "facellava/cuda/backward_region.cuh"
#include "facellava/cuda/backward_rows.cuh"
#include "facellava/cuda/convert.cuh"
#include "facellava/cuda/matmul.cuh"

namespace facellava::cuda {

// ---- products

void BackwardDevice::multiply_dx(Mat dx, CMat dy, const Weight& w, Write write) {
  if (dx.count() == 0) return;
  if (w.rows == 0) throw Error(ErrorKind::kShape, "linear_dx: expected at least one output, found 0");
  check_readable(w, "linear_dx");
  check_rows_apart(w, "linear_dx: W");
  check_rows_apart(dx, "linear_dx: dx");
  check_rows_apart(dy, "linear_dx: dy");
  DeviceState& dev = *state_;
  const CurrentDevice on(dev.device);
  // The sums of later rows of W are added to those of earlier ones.
  each_wide_block(dev, "linear_dx", w, [&](const float* wide, Index stride, Index first, Index n) {
    matmul(dev, {.y = dx.data,
                 .x = dy.data + first,
                 .w = wide,
                 .bias = nullptr,
                 .residual = first > 0 || write == Write::kAccumulate ? dx.data : nullptr,
                 .rows = dx.rows(),
                 .out = w.width,
                 .in = n,
                 .y_stride = dx.stride,
                 .x_stride = dy.stride,
                 .w_stride = stride,
                 .residual_stride = dx.stride,
                 .w_lies = Lies::kTurned});
  });
}

void BackwardDevice::multiply_dw(Mat dw, CMat dy, CMat x) {
  if (dw.count() == 0 || x.rows() == 0) return;
  check_rows_apart(dw, "linear_dw: dw");
  check_rows_apart(dy, "linear_dw: dy");
  check_rows_apart(x, "linear_dw: x");
  const CurrentDevice on(state_->device);
  matmul(*state_, {.y = dw.data,
                   .x = dy.data,
                   .w = x.data,
                   .bias = nullptr,
                   .residual = dw.data,
                   .rows = dw.rows(),
                   .out = dw.size(1),
                   .in = x.rows(),
                   .y_stride = dw.stride,
                   .x_stride = dy.stride,
                   .w_stride = x.stride,
                   .residual_stride = dw.stride,
                   .x_lies = Lies::kTurned,
                   .w_lies = Lies::kTurned});
}

void BackwardDevice::add_columns(Vec sums, CMat x) {
  const CurrentDevice on(state_->device);
  cuda::add_columns(*state_, Vec(), sums, x, CVec(), CVec(), CMat());
}

// ---- rows

void BackwardDevice::scatter_add_rows(Mat dx, CMat dy, Array<int> index) {
  const CurrentDevice on(state_->device);
  cuda::scatter_add_rows(*state_, dx, dy, index, 1, Negative::kSkipped);
}
void BackwardDevice::mean_rows(Mat y, CMat x, Array<int> index) {
  const CurrentDevice on(state_->device);
  cuda::mean_rows(*state_, y, x, index);
}
void BackwardDevice::mean_rows_backward(Mat dx, CMat dy, Array<int> index) {
  const CurrentDevice on(state_->device);
  cuda::scatter_add_rows(*state_, dx, dy, index, dy.rows() ? index.rows() / dy.rows() : 1, Negative::kFault);
}

// ---- norms and elementwise

void BackwardDevice::norm_backward(Mat dx, Vec dw, Vec db, CMat dy, CVec mean, CVec rstd, CMat x, CVec w, Write write) {
  const CurrentDevice on(state_->device);
  cuda::norm_backward(*state_, dx, dy, mean, rstd, x, w, write);
  cuda::add_columns(*state_, dw, db, dy, mean, rstd, x);
}
void BackwardDevice::gelu_backward(Mat dx, CMat dy, CMat x) {
  const CurrentDevice on(state_->device);
  const bool wide = is_wide(dx) && is_wide(dy) && is_wide(x);
  launch_rows(*state_, "gelu_backward",
              wide ? gelu_backward_kernel<Access::kWide> : gelu_backward_kernel<Access::kScalar>, x.rows(), x.size(1),
              dx, dy, x);
}
void BackwardDevice::swiglu_backward(Mat dgate, Mat dup, CMat dy, CMat gate, CMat up) {
  const CurrentDevice on(state_->device);
  const bool wide = is_wide(dgate) && is_wide(dup) && is_wide(dy) && is_wide(gate) && is_wide(up);
  launch_rows(*state_, "swiglu_backward",
              wide ? swiglu_backward_kernel<Access::kWide> : swiglu_backward_kernel<Access::kScalar>, dy.rows(),
              dy.size(1), dgate, dup, dy, gate, up);
}
void BackwardDevice::fill_rows(Mat x, float a) {
  const CurrentDevice on(state_->device);
  launch_rows(*state_, "fill", is_wide(x) ? fill_kernel<Access::kWide> : fill_kernel<Access::kScalar>, x.rows(),
              x.size(1), x, a);
}

// ---- attention

void BackwardDevice::attention_backward(Ten dq, Ten dk, Ten dv, CTen d_o, CTen o, CMat lse, CTen q, CTen k, CTen v,
                                        Array<Sequence> sequences, Array<KvRange> ranges, Mask mask, float scale) {
  const CurrentDevice on(state_->device);
  cuda::attention_backward(*state_, dq, dk, dv, d_o, o, lse, q, k, v, sequences, ranges, mask, scale);
}
void BackwardDevice::region_backward(Ten dq, Ten dk, Ten dv, Mat dbias, CTen d_o, CTen p, CTen q, CTen k, CTen v,
                                     float scale) {
  const CurrentDevice on(state_->device);
  cuda::region_attention_backward(*state_, dq, dk, dv, dbias, d_o, p, q, k, v, scale);
}
void BackwardDevice::region_bias_backward(Vec ds, CMat dbias, CMat points, float a, ClassToken token, int n) {
  const CurrentDevice on(state_->device);
  cuda::region_bias_backward(*state_, ds, dbias, points, a, token, n);
}

// ---- loss

void BackwardDevice::cross_entropy(Vec nll, Mat logits, Array<int> labels, float scale) {
  const CurrentDevice on(state_->device);
  cuda::cross_entropy(*state_, nll, logits, labels, scale);
}
void BackwardDevice::binary_cross_entropy(Mat loss, Mat logits, CMat targets, float scale) {
  const CurrentDevice on(state_->device);
  launch_rows(*state_, "binary_cross_entropy", loss_kernel<BinaryCrossEntropy>, logits.rows(), logits.size(1), loss,
              logits, targets, scale);
}
void BackwardDevice::regression_loss(Mat loss, Mat y, CMat targets, Distance distance, float scale) {
  const CurrentDevice on(state_->device);
  launch_rows(*state_, "regression_loss",
              distance == Distance::kSquared ? loss_kernel<Regression<Distance::kSquared>>
                                             : loss_kernel<Regression<Distance::kSmoothL1>>,
              y.rows(), y.size(1), loss, y, targets, scale);
}

// ---- optimisers

void BackwardDevice::sum_squares(Total totals, std::span<const TensorUpdate> tensors) {
  const CurrentDevice on(state_->device);
  cuda::sum_squares(*state_, totals, tensors);
}
void BackwardDevice::adamw(std::span<const TensorUpdate> tensors, const AdamW& how, int step) {
  const CurrentDevice on(state_->device);
  cuda::update(*state_, "adamw", tensors, AdamWRule::of(how, step));
}
void BackwardDevice::sgd(std::span<const TensorUpdate> tensors, const Sgd& how) {
  const CurrentDevice on(state_->device);
  cuda::update(*state_, "sgd", tensors, SgdRule::of(how));
}

}  // namespace facellava::cuda
