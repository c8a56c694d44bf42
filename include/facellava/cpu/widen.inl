// Rows of any format to fp32. Asks for: store_int8(y, bytes, scale): 16 floats y = scale · int8; store_code(y, index,
// scale): 16 floats y = scale · kNf4Code[index]; load_half, load_half_first: kLanes halves to fp32, as bf16 or f16.

// The 32 weights of a block, as they stand in format.hpp.
FACELLAVA_TARGET inline void widen_block(float* y, const std::byte* block, Format f) {
  const Reg d = splat(to_float(facellava::blocks::load<f16>(block)));
  if (f == Format::kQ8) {
    store_int8(y, load_bytes(block + 2), d);
    store_int8(y + 16, load_bytes(block + 18), d);
    return;
  }
  const bool offset = f == Format::kQ4Offset;
  const __m128i nibbles = load_bytes(block + (offset ? 4 : 2)), mask = _mm_set1_epi8(15);
  const __m128i low = _mm_and_si128(nibbles, mask), high = _mm_and_si128(_mm_srli_epi16(nibbles, 4), mask);
  const __m128i middle = _mm_set1_epi8(offset ? 0 : 8);
  store_int8(y, _mm_sub_epi8(low, middle), d);
  store_int8(y + 16, _mm_sub_epi8(high, middle), d);
  if (!offset) return;
  const Reg m = splat(to_float(facellava::blocks::load<f16>(block + 2)));
  for (int i = 0; i < 32; i += kLanes) store(y + i, add(load(y + i), m));
}
// 16 weights of one block of 64.
FACELLAVA_TARGET inline void widen_nf4(float* y, const std::byte* packed, const Nf4Scales& s) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(packed)), mask = _mm_set1_epi8(15);
  const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), mask), low = _mm_and_si128(bytes, mask);
  store_code(y, _mm_unpacklo_epi8(high, low), splat(s.scale((packed - s.packed) * 2 / kNf4Block)));
}

template <Format F>
FACELLAVA_TARGET void widen_halves(float* y, const std::byte* row, Index n) {
  Index k = 0;
  for (; k + kLanes <= n; k += kLanes) store(y + k, load_half<F>(row + 2 * k));
  if (k < n) store_first(y + k, load_half_first<F>(row + 2 * k, n - k), n - k);
}

// y = elements [first, first + n) of a row. first is a multiple of 32.
FACELLAVA_TARGET inline void widen(float* y, const std::byte* row, Format f, Index first, Index n,
                                   const Nf4Scales* nf4) {
  row += first / block_size(f) * block_bytes(f);
  if (f == Format::kF32) {
    std::memcpy(y, row, std::size_t(n) * sizeof(float));
  } else if (f == Format::kF16) {
    widen_halves<Format::kF16>(y, row, n);
  } else if (f == Format::kBf16) {
    widen_halves<Format::kBf16>(y, row, n);
  } else if (f == Format::kNf4) {
    for (Index k = 0; k < n; k += 16) widen_nf4(y + k, row + k / 2, *nf4);
  } else {
    Index k = 0;
    for (; k + 32 <= n; k += 32, row += block_bytes(f)) widen_block(y + k, row, f);
    if (k < n) {
      float last[32];
      widen_block(last, row, f);
      std::copy_n(last, n - k, y + k);
    }
  }
}
