// Which format a tensor gets when a checkpoint is converted to `wanted`, in a file (convert.hpp) or at load
// (weights.hpp).
#pragma once
#include "facellava/io/tensor_entry.hpp"

namespace facellava::io {

// Vectors stay. Of the block formats: only matrices; embeddings of positions stay; the table of words and the head,
// whose rounding every answer meets, become q8; a width that nf4 cannot have becomes bf16. name: the checkpoint's.
inline DType converted_type(const std::string& name, const TensorEntry& t, std::optional<Format> wanted) {
  if (!wanted || !format_of(t.dtype) || t.shape.size() < 2) return t.dtype;
  if (!is_block_format(*wanted)) return dtype_of(*wanted);
  if (t.shape.size() != 2 || name.find("position_embedding") != name.npos) return t.dtype;
  for (const char* words : {"embed_tokens.", "lm_head.", "token_embd.", "output.weight"})
    if (name.find(words) != name.npos) return is_block_type(t.dtype) ? t.dtype : DType::kQ8;
  if (*wanted == Format::kNf4 && t.shape[1] % 16 != 0) return DType::kBf16;
  return dtype_of(*wanted);
}

}  // namespace facellava::io
