// stb_image for JPEG, PNG and BMP, in a namespace and with internal linkage: a host may have its own stb_image, before
// or behind this header, with other options. The macros it sets are put back as they were. Memory: DecodeHeap.
#pragma once
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "facellava/media/detail/decode_heap.hpp"

#pragma push_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma push_macro("STB_IMAGE_IMPLEMENTATION")
#pragma push_macro("STB_IMAGE_STATIC")
#pragma push_macro("STBIDEF")
#pragma push_macro("STBI_ASSERT")
#pragma push_macro("STBI_MALLOC")
#pragma push_macro("STBI_REALLOC")
#pragma push_macro("STBI_REALLOC_SIZED")
#pragma push_macro("STBI_FREE")
#pragma push_macro("STBI_MAX_DIMENSIONS")
#pragma push_macro("STBI_NO_STDIO")
#pragma push_macro("STBI_NO_FAILURE_STRINGS")
#pragma push_macro("STBI_FAILURE_USERMSG")
#pragma push_macro("STBI_NO_JPEG")
#pragma push_macro("STBI_NO_PNG")
#pragma push_macro("STBI_NO_BMP")
#pragma push_macro("STBI_NO_PSD")
#pragma push_macro("STBI_NO_TGA")
#pragma push_macro("STBI_NO_GIF")
#pragma push_macro("STBI_NO_HDR")
#pragma push_macro("STBI_NO_PIC")
#pragma push_macro("STBI_NO_PNM")
#pragma push_macro("STBI_NO_LINEAR")
#pragma push_macro("STBI_ONLY_JPEG")
#pragma push_macro("STBI_ONLY_PNG")
#pragma push_macro("STBI_ONLY_BMP")
#pragma push_macro("STBI_NO_ZLIB")
#pragma push_macro("stbi__err")
#undef STBI_INCLUDE_STB_IMAGE_H
#undef STB_IMAGE_IMPLEMENTATION
#undef STB_IMAGE_STATIC
#undef STBIDEF
#undef STBI_ASSERT
#undef STBI_MALLOC
#undef STBI_REALLOC
#undef STBI_REALLOC_SIZED
#undef STBI_FREE
#undef STBI_MAX_DIMENSIONS
#undef STBI_NO_STDIO
#undef STBI_NO_FAILURE_STRINGS
#undef STBI_FAILURE_USERMSG
#undef STBI_NO_JPEG
#undef STBI_NO_PNG
#undef STBI_NO_BMP
#undef STBI_NO_PSD
#undef STBI_NO_TGA
#undef STBI_NO_GIF
#undef STBI_NO_HDR
#undef STBI_NO_PIC
#undef STBI_NO_PNM
#undef STBI_NO_LINEAR
#undef STBI_ONLY_JPEG
#undef STBI_ONLY_PNG
#undef STBI_ONLY_BMP
#undef STBI_NO_ZLIB
#undef stbi__err
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ASSERT(x) ((x) ? void(0) : DecodeHeap::broken())
#define STBI_MALLOC(bytes) DecodeHeap::allocate(bytes)
#define STBI_REALLOC_SIZED(p, old_bytes, bytes) DecodeHeap::reallocate(p, old_bytes, bytes)
#define STBI_REALLOC(p, bytes) DecodeHeap::reallocate(p, bytes, bytes)
#define STBI_FREE(p) DecodeHeap::release(p)

// These stand in an extern "C" block, where a namespace does not tell them from the host's.
#define stbi_failure_reason facellava_stbi_failure_reason
#define stbi_image_free facellava_stbi_image_free
#define stbi_load_from_memory facellava_stbi_load_from_memory
#define stbi_load_from_callbacks facellava_stbi_load_from_callbacks
#define stbi_load_16_from_memory facellava_stbi_load_16_from_memory
#define stbi_load_16_from_callbacks facellava_stbi_load_16_from_callbacks
#define stbi_is_hdr_from_memory facellava_stbi_is_hdr_from_memory
#define stbi_is_hdr_from_callbacks facellava_stbi_is_hdr_from_callbacks
#define stbi_hdr_to_ldr_gamma facellava_stbi_hdr_to_ldr_gamma
#define stbi_hdr_to_ldr_scale facellava_stbi_hdr_to_ldr_scale
#define stbi_info_from_memory facellava_stbi_info_from_memory
#define stbi_info_from_callbacks facellava_stbi_info_from_callbacks
#define stbi_is_16_bit_from_memory facellava_stbi_is_16_bit_from_memory
#define stbi_is_16_bit_from_callbacks facellava_stbi_is_16_bit_from_callbacks
#define stbi_set_flip_vertically_on_load facellava_stbi_set_flip_vertically_on_load
#define stbi_set_flip_vertically_on_load_thread facellava_stbi_set_flip_vertically_on_load_thread
#define stbi_set_unpremultiply_on_load facellava_stbi_set_unpremultiply_on_load
#define stbi_set_unpremultiply_on_load_thread facellava_stbi_set_unpremultiply_on_load_thread
#define stbi__unpremultiply_on_load_thread facellava_stbi_unpremultiply_on_load_thread
#define stbi_convert_iphone_png_to_rgb facellava_stbi_convert_iphone_png_to_rgb
#define stbi_convert_iphone_png_to_rgb_thread facellava_stbi_convert_iphone_png_to_rgb_thread
#define stbi_zlib_decode_buffer facellava_stbi_zlib_decode_buffer
#define stbi_zlib_decode_malloc facellava_stbi_zlib_decode_malloc
#define stbi_zlib_decode_malloc_guesssize facellava_stbi_zlib_decode_malloc_guesssize
#define stbi_zlib_decode_malloc_guesssize_headerflag facellava_stbi_zlib_decode_malloc_guesssize_headerflag
#define stbi_zlib_decode_noheader_buffer facellava_stbi_zlib_decode_noheader_buffer
#define stbi_zlib_decode_noheader_malloc facellava_stbi_zlib_decode_noheader_malloc

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wshadow"
namespace facellava::media::detail::stb {
#include <stb/stb_image.h>
}  // namespace facellava::media::detail::stb
#pragma GCC diagnostic pop

#undef stbi_failure_reason
#undef stbi_image_free
#undef stbi_load_from_memory
#undef stbi_load_from_callbacks
#undef stbi_load_16_from_memory
#undef stbi_load_16_from_callbacks
#undef stbi_is_hdr_from_memory
#undef stbi_is_hdr_from_callbacks
#undef stbi_hdr_to_ldr_gamma
#undef stbi_hdr_to_ldr_scale
#undef stbi_info_from_memory
#undef stbi_info_from_callbacks
#undef stbi_is_16_bit_from_memory
#undef stbi_is_16_bit_from_callbacks
#undef stbi_set_flip_vertically_on_load
#undef stbi_set_flip_vertically_on_load_thread
#undef stbi_set_unpremultiply_on_load
#undef stbi_set_unpremultiply_on_load_thread
#undef stbi__unpremultiply_on_load_thread
#undef stbi_convert_iphone_png_to_rgb
#undef stbi_convert_iphone_png_to_rgb_thread
#undef stbi_zlib_decode_buffer
#undef stbi_zlib_decode_malloc
#undef stbi_zlib_decode_malloc_guesssize
#undef stbi_zlib_decode_malloc_guesssize_headerflag
#undef stbi_zlib_decode_noheader_buffer
#undef stbi_zlib_decode_noheader_malloc
#pragma pop_macro("STBI_INCLUDE_STB_IMAGE_H")
#pragma pop_macro("STB_IMAGE_IMPLEMENTATION")
#pragma pop_macro("STB_IMAGE_STATIC")
#pragma pop_macro("STBIDEF")
#pragma pop_macro("STBI_ASSERT")
#pragma pop_macro("STBI_MALLOC")
#pragma pop_macro("STBI_REALLOC")
#pragma pop_macro("STBI_REALLOC_SIZED")
#pragma pop_macro("STBI_FREE")
#pragma pop_macro("STBI_MAX_DIMENSIONS")
#pragma pop_macro("STBI_NO_STDIO")
#pragma pop_macro("STBI_NO_FAILURE_STRINGS")
#pragma pop_macro("STBI_FAILURE_USERMSG")
#pragma pop_macro("STBI_NO_JPEG")
#pragma pop_macro("STBI_NO_PNG")
#pragma pop_macro("STBI_NO_BMP")
#pragma pop_macro("STBI_NO_PSD")
#pragma pop_macro("STBI_NO_TGA")
#pragma pop_macro("STBI_NO_GIF")
#pragma pop_macro("STBI_NO_HDR")
#pragma pop_macro("STBI_NO_PIC")
#pragma pop_macro("STBI_NO_PNM")
#pragma pop_macro("STBI_NO_LINEAR")
#pragma pop_macro("STBI_ONLY_JPEG")
#pragma pop_macro("STBI_ONLY_PNG")
#pragma pop_macro("STBI_ONLY_BMP")
#pragma pop_macro("STBI_NO_ZLIB")
#pragma pop_macro("stbi__err")
