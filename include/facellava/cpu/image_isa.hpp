// The kernels of convolutional nets for every instruction set: vectors from the text of image_kernels.inl, and plain
// loops.
#pragma once
#include <algorithm>

#include "facellava/cpu/avx512.hpp"
#include "facellava/cpu/colours.hpp"
#include "facellava/cpu/image_kernels.hpp"
#include "facellava/cpu/isa.hpp"

#if FACELLAVA_X86

#define FACELLAVA_TARGET __attribute__((target("avx2,fma,f16c")))
namespace facellava::cpu::avx2 {
inline constexpr int kPixels1 = 8, kPixels2 = 6;
#include "facellava/cpu/image_kernels.inl"
}  // namespace facellava::cpu::avx2
#undef FACELLAVA_TARGET

#define FACELLAVA_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
namespace facellava::cpu::avx512 {
inline constexpr int kPixels1 = 12, kPixels2 = 12;
#include "facellava/cpu/image_kernels.inl"
}  // namespace facellava::cpu::avx512
#undef FACELLAVA_TARGET

#endif

namespace facellava::cpu::portable {

inline float bent(float v, const float* slope, Index c) { return v > 0 || !slope ? v : slope[c] * v; }

// Calls f(tap's row, column, x of the tap's first channel) for the taps of pixel i.
void for_each_tap(const Run& r, Index i, auto f) {
  for (Index a = 0; a < r.rows; ++a)
    for (Index b = 0; b < r.columns; ++b) f(a, b, r.x + i * r.step + a * r.ldx + b * r.in);
}
inline void convolve(const Run& r) {
  for (Index i = 0; i < r.pixels; ++i) {
    float* y = r.y + i * r.out;
    for (Index o = 0; o < r.out; ++o) y[o] = r.bias[o] + (r.residual ? r.residual[i * r.out + o] : 0);
    for_each_tap(r, i, [&](Index a, Index b, const float* x) {
      for (Index k = 0; k < r.in; ++k)
        for (Index o = 0; o < r.out; ++o) y[o] += x[k] * r.w[a * r.ldw + (b * r.in + k) * r.ldk + o];
    });
    for (Index o = 0; o < r.out; ++o) y[o] = bent(y[o], r.slope, o);
  }
}
inline void depthwise(const Run& r) {
  for (Index i = 0; i < r.pixels; ++i) {
    float* y = r.y + i * r.out;
    std::copy_n(r.bias, r.out, y);
    for_each_tap(r, i, [&](Index a, Index b, const float* x) {
      for (Index o = 0; o < r.out; ++o) y[o] += x[o] * r.w[a * r.ldw + b * r.ldk + o];
    });
  }
}
inline void maximum(const Run& r) {
  for (Index i = 0; i < r.pixels; ++i) {
    float* y = r.y + i * r.out;
    std::copy_n(r.x + i * r.step, r.out, y);
    for_each_tap(r, i, [&](Index, Index, const float* x) {
      for (Index o = 0; o < r.out; ++o) y[o] = std::max(y[o], x[o]);
    });
  }
}
inline void add_prelu(float* y, const float* x, const float* b, const float* slope, Index pixels, Index n) {
  for (Index i = 0; i < pixels * n; ++i) y[i] = bent(b ? x[i] + b[i] : x[i], slope, i % n);
}
inline const ImageKernels& image_kernels() {
  static constexpr ImageKernels table{convolve, depthwise, maximum, add_prelu, colours};
  return table;
}

}  // namespace facellava::cpu::portable

namespace facellava::cpu {

inline const ImageKernels& image_kernels(Isa isa) {
#if FACELLAVA_X86
  if (isa >= Isa::kAvx512) return avx512::image_kernels();
  if (isa == Isa::kAvx2) return avx2::image_kernels();
#endif
  return portable::image_kernels();
}

}  // namespace facellava::cpu
