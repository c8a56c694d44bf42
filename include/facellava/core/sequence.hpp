// Who attends to whom, and the small enums of the ops.
//
// Rows are unpadded: all tokens of all sequences of a batch stand one after another in [rows, dim]. Unequal batches,
// packed answers behind one visual prefix, forks, temporal attention and chunked prefill differ only in their
// Sequences.
#pragma once

namespace facellava {

// Rows of keys and values: every `stride`-th row of the Sequence that names them, from row `first` on.
struct KvRange {
  int first, count;
};

// q_count queries: every stride-th row from q_first on. Their keys: the rows of the ranges [ranges_first,
// +ranges_count), one after another. Mask::kCausal: the queries are the last q_count of these keys, and each sees no
// key behind itself.
struct Sequence {
  int q_first, q_count, ranges_first, ranges_count, stride = 1;
};

enum class Mask { kFull, kCausal };
enum class Rotate { kForward, kInverse };
enum class Write { kAssign, kAccumulate };  // how a gradient gets into its view: = or +=
enum class Bias { kNone, kYes };
enum class ClassToken { kNone, kFirst };

}  // namespace facellava
