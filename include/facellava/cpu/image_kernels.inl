// Kernel bodies of convolutional nets, once for every vector instruction set: image_isa.hpp includes this as avx2.hpp
// and avx512.hpp include kernels.inl, after kPixels1 and kPixels2: of a tile of one and of two vectors of channels.

// A vector of channels: whole, or the first n lanes of one.
enum class Lanes { kAll, kFirst };
template <Lanes L>
FACELLAVA_TARGET inline Reg load_lanes(const float* p, Index n) {
  return L == Lanes::kAll ? load(p) : load_first(p, n);
}
template <Lanes L>
FACELLAVA_TARGET inline void store_lanes(float* p, Reg v, Index n) {
  L == Lanes::kAll ? store(p, v) : store_first(p, v, n);
}
FACELLAVA_TARGET inline Reg bent(Reg v, Reg slope) { return fma(slope, min(splat(0), v), max(splat(0), v)); }

// ---- convolution

// M pixels by V vectors of channels, from pixel i and channel c on; n: lanes of a partial vector.
template <int M, int V, Lanes L>
FACELLAVA_TARGET void convolve_tile(const Run& r, Index i, Index c, Index n) {
  Reg sum[M][V];
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    const Reg bias = load_lanes<L>(r.bias + c + v * kLanes, n);
#pragma GCC unroll 12
    for (int m = 0; m < M; ++m) sum[m][v] = bias;
  }
  for (Index a = 0; a < r.rows; ++a) {
    const float *x = r.x + a * r.ldx + i * r.step, *w = r.w + a * r.ldw + c;
    for (Index k = 0; k < r.columns * r.in; ++k, w += r.ldk) {
      Reg weights[V];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) weights[v] = load_lanes<L>(w + v * kLanes, n);
#pragma GCC unroll 12
      for (int m = 0; m < M; ++m) {
        const Reg pixel = splat(x[m * r.step + k]);
#pragma GCC unroll 8
        for (int v = 0; v < V; ++v) sum[m][v] = fma(pixel, weights[v], sum[m][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < V; ++v) {
    const Reg slope = r.slope ? load_lanes<L>(r.slope + c + v * kLanes, n) : splat(1);
#pragma GCC unroll 12
    for (int m = 0; m < M; ++m) {
      const Index at = (i + m) * r.out + c + v * kLanes;
      if (r.residual) sum[m][v] = add(sum[m][v], load_lanes<L>(r.residual + at, n));
      store_lanes<L>(r.y + at, r.slope ? bent(sum[m][v], slope) : sum[m][v], n);
    }
  }
}
template <int M, int V, Lanes L>
FACELLAVA_TARGET void convolve_channels(const Run& r, Index c, Index n) {
  Index i = 0;
  for (; i + M <= r.pixels; i += M) convolve_tile<M, V, L>(r, i, c, n);
  if (i + M / 2 <= r.pixels) convolve_tile<M / 2, V, L>(r, i, c, n), i += M / 2;
  for (; i < r.pixels; ++i) convolve_tile<1, V, L>(r, i, c, n);
}
FACELLAVA_TARGET inline void convolve(const Run& r) {
  Index c = 0;
  for (; c + 2 * kLanes <= r.out; c += 2 * kLanes) convolve_channels<kPixels2, 2, Lanes::kAll>(r, c, kLanes);
  if (c + kLanes <= r.out) convolve_channels<kPixels1, 1, Lanes::kAll>(r, c, kLanes), c += kLanes;
  if (c < r.out) convolve_channels<kPixels1, 1, Lanes::kFirst>(r, c, r.out - c);
}

// ---- channel by channel

// 3 × 3 taps: their weights stay in registers.
template <Lanes L>
FACELLAVA_TARGET void depthwise_square(const Run& r, Index c, Index n) {
  Reg w[9];
#pragma GCC unroll 9
  for (int t = 0; t < 9; ++t) w[t] = load_lanes<L>(r.w + t / 3 * r.ldw + t % 3 * r.ldk + c, n);
  const Reg bias = load_lanes<L>(r.bias + c, n);
  const float* x = r.x + c;
  float* y = r.y + c;
  for (Index i = 0; i < r.pixels; ++i, x += r.step, y += r.out) {
    Reg sum = bias;
#pragma GCC unroll 9
    for (int t = 0; t < 9; ++t) sum = fma(load_lanes<L>(x + t / 3 * r.ldx + t % 3 * r.out, n), w[t], sum);
    store_lanes<L>(y, sum, n);
  }
}
template <Lanes L>
FACELLAVA_TARGET void depthwise_lanes(const Run& r, Index c, Index n) {
  if (r.rows == 3 && r.columns == 3) return depthwise_square<L>(r, c, n);
  const Reg bias = load_lanes<L>(r.bias + c, n);
  for (Index i = 0; i < r.pixels; ++i) {
    Reg sum = bias;
    for (Index a = 0; a < r.rows; ++a)
      for (Index b = 0; b < r.columns; ++b)
        sum = fma(load_lanes<L>(r.x + i * r.step + a * r.ldx + b * r.out + c, n),
                  load_lanes<L>(r.w + a * r.ldw + b * r.ldk + c, n), sum);
    store_lanes<L>(r.y + i * r.out + c, sum, n);
  }
}
template <Lanes L>
FACELLAVA_TARGET void maximum_lanes(const Run& r, Index c, Index n) {
  for (Index i = 0; i < r.pixels; ++i) {
    const float* x = r.x + i * r.step + c;
    Reg top = load_lanes<L>(x, n);
    for (Index a = 0; a < r.rows; ++a)
      for (Index b = 0; b < r.columns; ++b) top = max(load_lanes<L>(x + a * r.ldx + b * r.out, n), top);
    store_lanes<L>(r.y + i * r.out + c, top, n);
  }
}
FACELLAVA_TARGET inline void depthwise(const Run& r) {
  Index c = 0;
  for (; c + kLanes <= r.out; c += kLanes) depthwise_lanes<Lanes::kAll>(r, c, kLanes);
  if (c < r.out) depthwise_lanes<Lanes::kFirst>(r, c, r.out - c);
}
FACELLAVA_TARGET inline void maximum(const Run& r) {
  Index c = 0;
  for (; c + kLanes <= r.out; c += kLanes) maximum_lanes<Lanes::kAll>(r, c, kLanes);
  if (c < r.out) maximum_lanes<Lanes::kFirst>(r, c, r.out - c);
}

template <Lanes L>
FACELLAVA_TARGET void add_prelu_lanes(float* y, const float* x, const float* b, const float* slope, Index pixels,
                                      Index channels, Index n) {
  const Reg bend = slope ? load_lanes<L>(slope, n) : splat(1);
  for (Index at = 0; at < pixels * channels; at += channels) {
    Reg v = load_lanes<L>(x + at, n);
    if (b) v = add(v, load_lanes<L>(b + at, n));
    store_lanes<L>(y + at, slope ? bent(v, bend) : v, n);
  }
}
FACELLAVA_TARGET inline void add_prelu(float* y, const float* x, const float* b, const float* slope, Index pixels,
                                       Index channels) {
  Index c = 0;
  for (; c + kLanes <= channels; c += kLanes)
    add_prelu_lanes<Lanes::kAll>(y + c, x + c, b ? b + c : b, slope ? slope + c : slope, pixels, channels, kLanes);
  if (c < channels)
    add_prelu_lanes<Lanes::kFirst>(y + c, x + c, b ? b + c : b, slope ? slope + c : slope, pixels, channels,
                                   channels - c);
}

inline const ImageKernels& image_kernels() {
  static constexpr ImageKernels table{convolve, depthwise, maximum, add_prelu, avx2::colours};
  return table;
}
