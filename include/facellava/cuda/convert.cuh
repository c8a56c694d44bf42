// Reads matrices in every format of core/format.hpp as fp32, exactly as core's decode does, and rounds fp32 to bf16.
// The unit is an octet, eight weights of a row in two quads: a lane's loads and those of its neighbours then lie side
// by side, in the matrix as in what it is multiplied with or written to.
#pragma once
#include <cuda_fp16.h>

#include "facellava/cuda/runtime.cuh"
#include "facellava/cuda/warp.cuh"

namespace facellava::cuda {

inline constexpr int kWidenThreads = 256;

template <Format F>
__device__ float widen(unsigned short bits) {
  static_assert(F == Format::kBf16 || F == Format::kF16);
  if constexpr (F == Format::kBf16) return __uint_as_float(unsigned(bits) << 16);
  if constexpr (F == Format::kF16) return __half2float(__ushort_as_half(bits));
}

// To nearest, ties to even; NaN stays NaN: core's to_bf16.
__device__ inline bf16 round_to_bf16(float x) {
  const unsigned u = __float_as_uint(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<unsigned short>(u >> 16 | 0x40u)};
  return {static_cast<unsigned short>((u + 0x7fffu + (u >> 16 & 1u)) >> 16)};
}

struct alignas(8) FourHalves {
  bf16 v[4];
};
// As of fp32 (warp.cuh): kWide in one access of 8 bytes.
template <Access A>
__device__ Quad load_quad(const bf16* p, Index left) {
  FourHalves h{};
  if constexpr (A == Access::kWide) {
    h = *reinterpret_cast<const FourHalves*>(p);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < left) h.v[i] = p[i];
  }
  Quad q;
#pragma unroll
  for (int i = 0; i < 4; ++i) q.v[i] = widen<Format::kBf16>(h.v[i].bits);
  return q;
}
template <Access A>
__device__ void store_quad(bf16* p, Index left, const Quad& q) {
  FourHalves h;
#pragma unroll
  for (int i = 0; i < 4; ++i) h.v[i] = round_to_bf16(q.v[i]);
  if constexpr (A == Access::kWide) {
    *reinterpret_cast<FourHalves*>(p) = h;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < left) p[i] = h.v[i];
  }
}

// ---- nf4's tables, where a kernel can read them

template <std::size_t N>
struct Table {
  float v[N];
};
template <std::size_t N>
constexpr Table<N> table_of(const std::array<float, N>& code) {
  Table<N> t{};
  for (std::size_t i = 0; i < N; ++i) t.v[i] = code[i];
  return t;
}
inline constexpr Table<16> kNf4Table = table_of(kNf4Code);
inline constexpr Table<256> kDynamicTable = table_of(kDynamicCode);

__device__ inline float nf4_code(int i) {
  static constexpr Table<16> kTable = kNf4Table;
  return kTable.v[i];
}
// Nf4Scales::scale: rounded after the product and after the sum.
__device__ inline float nf4_scale(const Nf4Scales& s, Index block) {
  static constexpr Table<256> kTable = kDynamicTable;
  return __fadd_rn(__fmul_rn(kTable.v[s.absmax[block]], s.nested[block / kNf4Nested]), s.offset);
}

// ---- octets

// In blocks of 32, whose bytes hold weights 16 apart, an octet is four weights of each half.
template <Format F>
inline constexpr bool kHalved = F == Format::kQ8 || F == Format::kQ4 || F == Format::kQ4Offset;

template <Format F>
inline constexpr Index kBlockBytes = block_bytes(F);

struct Octet {
  Quad part[2];
};
template <Format F>
__host__ __device__ constexpr Index octets_of(Index width) {
  return kHalved<F> ? (width + 31) / 32 * 4 : (width + 7) / 8;
}
// The first column of a part of octet o.
template <Format F>
__device__ constexpr Index octet_column(Index o, int part) {
  return kHalved<F> ? o / 4 * 32 + o % 4 * 4 + part * 16 : o * 8 + part * 4;
}

// A whole quad in one access where A says so; what lies behind the row's end reads as 0 and is not written.
template <Access A>
__device__ Quad load_some(const float* p, Index left) {
  return A == Access::kWide && left >= 4 ? load_quad<Access::kWide>(p, left) : load_quad<Access::kScalar>(p, left);
}
template <Access A>
__device__ void store_some(float* p, Index left, const Quad& q) {
  if (A == Access::kWide && left >= 4)
    store_quad<Access::kWide>(p, left, q);
  else
    store_quad<Access::kScalar>(p, left, q);
}

struct alignas(16) EightHalves {
  unsigned short v[8];
};
template <Format F, Access A>
__device__ Octet read_halves(const unsigned short* from, Index left) {
  Octet a{};
  if (A == Access::kWide && left >= 8) {
    const EightHalves e = *reinterpret_cast<const EightHalves*>(from);
#pragma unroll
    for (int i = 0; i < 8; ++i) a.part[i / 4].v[i % 4] = widen<F>(e.v[i]);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (i < left) a.part[i / 4].v[i % 4] = widen<F>(from[i]);
  }
  return a;
}

// Octet t = 0 … 3 of a block of 32.
template <Format F>
__device__ Octet read_block(const unsigned short* block, int t) {
  Octet a;
  const float d = widen<Format::kF16>(block[0]);
  const unsigned short* q = block + (F == Format::kQ4Offset ? 2 : 1) + 2 * t;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (F == Format::kQ8) {
#pragma unroll
      for (int part = 0; part < 2; ++part)
        a.part[part].v[i] = d * float(static_cast<signed char>(q[8 * part + i / 2] >> i % 2 * 8 & 255));
    } else {
      const int byte = q[i / 2] >> i % 2 * 8 & 255;
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const float n = float(byte >> 4 * part & 15);
        a.part[part].v[i] = F == Format::kQ4 ? d * (n - 8) : d * n + widen<Format::kF16>(block[1]);
      }
    }
  }
  return a;
}

// from: the octet's four bytes; left: weights up to the end of the row.
__device__ inline Octet read_nf4(const unsigned char* from, Index left, const Nf4Scales& s) {
  Octet a{};
  const Index flat = (from - reinterpret_cast<const unsigned char*>(s.packed)) * 2;
  float scale = 0;
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    if (i >= left) break;
    if (i == 0 || (flat + i) % kNf4Block == 0) scale = nf4_scale(s, (flat + i) / kNf4Block);
    const int byte = from[i / 2];
    a.part[i / 4].v[i % 4] = nf4_code(byte >> 4) * scale;
    if (i + 1 < left) a.part[i / 4].v[i % 4 + 1] = nf4_code(byte & 15) * scale;
  }
  return a;
}

// Octet o of a row of w; what lies behind the row's end is 0. kWide: is_wide(w).
template <Format F, Access A>
__device__ Octet read_octet(const Weight& w, Index row, Index o) {
  const unsigned char* from = static_cast<const unsigned char*>(w.data) + row * w.step;
  const Index left = w.width - octet_column<F>(o, 0);
  if constexpr (F == Format::kF32) {
    const float* p = reinterpret_cast<const float*>(from) + 8 * o;
    return {{load_some<A>(p, left), load_some<A>(p + 4, left - 4)}};
  } else if constexpr (F == Format::kF16 || F == Format::kBf16) {
    return read_halves<F, A>(reinterpret_cast<const unsigned short*>(from) + 8 * o, left);
  } else if constexpr (F == Format::kNf4) {
    return read_nf4(from + 4 * o, left, w.nf4);
  } else {
    Octet a = read_block<F>(reinterpret_cast<const unsigned short*>(from + o / 4 * kBlockBytes<F>), int(o % 4));
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if (i / 4 * 16 + i % 4 >= left) a.part[i / 4].v[i % 4] = 0;
    return a;
  }
}

template <Format F>
using FormatConstant = std::integral_constant<Format, F>;

// f(FormatConstant<format>): picks the instance of a kernel for a format known at run time.
auto for_format(Format format, auto&& f) {
  switch (format) {
    case Format::kF32: break;
    case Format::kF16: return f(FormatConstant<Format::kF16>{});
    case Format::kBf16: return f(FormatConstant<Format::kBf16>{});
    case Format::kQ8: return f(FormatConstant<Format::kQ8>{});
    case Format::kQ4: return f(FormatConstant<Format::kQ4>{});
    case Format::kQ4Offset: return f(FormatConstant<Format::kQ4Offset>{});
    case Format::kNf4: return f(FormatConstant<Format::kNf4>{});
  }
  return f(FormatConstant<Format::kF32>{});
}

// Octets of a row.
inline Index octets_of(const Weight& w) {
  return for_format(w.format, [&]<Format F>(FormatConstant<F>) { return octets_of<F>(w.width); });
}
// Whether rows of w start at multiples of 16 bytes.
inline bool is_wide(const Weight& w) {
  return is_quad_aligned(w.data) && (w.rows <= 1 || w.step % Index(sizeof(Quad)) == 0);
}

// to [w.rows, w.width] without gaps; an octet a thread. kWide: rows of w and of `to` start at multiples of 16 bytes.
template <Format F, Access A>
__global__ void __launch_bounds__(kWidenThreads) widen_kernel(float* to, Weight w) {
  const Index octets = octets_of<F>(w.width), i = Index(blockIdx.x) * blockDim.x + threadIdx.x, row = i / octets;
  if (row >= w.rows) return;
  const Octet a = read_octet<F, A>(w, row, i % octets);
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    const Index column = octet_column<F>(i % octets, part);
    store_some<A>(to + row * w.width + column, w.width - column, a.part[part]);
  }
}

// to [w.rows, w.width] fp32, 16-byte aligned.
inline void widen(const DeviceState& dev, float* to, Weight w) {
  if (w.rows == 0 || w.width == 0) return;
  if (block_size(w.format) == 1 && w.step == w.width * block_bytes(w.format))  // no gaps: one long row
    w = {w.data, w.format, 1, w.rows * w.width, 0, {}};
  const bool wide = is_wide(w) && (w.rows == 1 || w.width % 4 == 0);
  const auto kernel = for_format(w.format, [&]<Format F>(FormatConstant<F>) {
    return wide ? widen_kernel<F, Access::kWide> : widen_kernel<F, Access::kScalar>;
  });
  const Index octets = w.rows * octets_of(w);
  launch(dev, "widening a matrix", kernel, grid_of((octets + kWidenThreads - 1) / kWidenThreads), dim3(kWidenThreads),
         0, to, w);
}

// Error kArgument for a matrix that kernels cannot read: elements, and the scales of blocks, lie at whole steps.
inline void check_readable(const Weight& w, std::string_view what) {
  const std::size_t step = w.format == Format::kNf4 ? 1 : w.format == Format::kF32 ? 4 : 2;
  if (reinterpret_cast<std::uintptr_t>(w.data) % step != 0)
    throw Error(ErrorKind::kArgument, std::string(what) + ": expected a matrix aligned for " + format_name(w.format));
  if (w.format == Format::kNf4 && !w.nf4.packed && w.rows > 0 && w.width > 0)
    throw Error(ErrorKind::kArgument, std::string(what) + ": expected scales of an nf4 matrix, found none");
}

// f(wide, stride, first, n): rows [first, first + n) of w in fp32, all of them in turn: where they lie, or widened, as
// many at a time as the scratch holds, by 32s where it holds that many: aligned blocks stay aligned. Errors: kCapacity
// (no room for a row).
template <class F>
void each_wide_block(const DeviceState& dev, const char* what, const Weight& w, F&& f) {
  if (w.format == Format::kF32)
    return f(static_cast<const float*>(w.data), w.step / Index(sizeof(float)), Index(0), w.rows);
  const Index room = Index(dev.scratch.size() / sizeof(float)) / w.width, block = room >= 32 ? room / 32 * 32 : room;
  if (block == 0)
    throw Error(ErrorKind::kCapacity, std::string(what) + ": expected scratch for a row of " + std::to_string(w.width) +
                                          " fp32 numbers, found " + std::to_string(dev.scratch.size()) + " bytes");
  float* wide = static_cast<float*>(dev.scratch.data());
  for (Index first = 0; first < w.rows; first += block) {
    const Index n = std::min(block, w.rows - first);
    widen(dev, wide, {static_cast<const std::byte*>(w.data) + first * w.step, w.format, n, w.width, w.step, w.nf4});
    f(wide, w.width, first, n);
  }
}

}  // namespace facellava::cuda
