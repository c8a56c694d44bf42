// Faults: what a kernel finds wrong with indices in device memory. The first one stands in a word of the device until
// synchronize() reports it. The block that finds one writes nothing else and reads nothing out of range.
#pragma once
#include <cuda_runtime.h>

namespace facellava::cuda {

enum class Fault : int {
  kNone,
  kQueryRow,
  kKeyRange,
  kKeyRow,
  kEmbeddedId,
  kAddedId,
  kGatheredRow,
  kSlot,
  kPosition,
  kScoredId,
  kSameRow,
  kScatteredRow,
  kMeanRow,
  kLabel
};

inline const char* fault_text(Fault f) {
  switch (f) {
    case Fault::kNone: return "no fault";
    case Fault::kQueryRow: return "attention: a sequence names a query row outside q";
    case Fault::kKeyRange: return "attention: a sequence names ranges outside the list of ranges";
    case Fault::kKeyRow: return "attention: a range names a row outside k and v";
    case Fault::kEmbeddedId: return "embed: an id is not below the number of rows of W";
    case Fault::kAddedId: return "add_rows: an id names a row outside W";
    case Fault::kGatheredRow: return "gather_rows: an index is not below the number of rows of x";
    case Fault::kSlot: return "kv_append: a slot names a row outside the slabs";
    case Fault::kPosition: return "rope: a position lies outside the table";
    case Fault::kScoredId: return "log_prob: an id lies outside the row of logits";
    case Fault::kSameRow: return "attention_backward: a sequence of stride 0";
    case Fault::kScatteredRow: return "scatter_add_rows, mean_rows_backward: an index names a row outside dx";
    case Fault::kMeanRow: return "mean_rows: an index names a row outside x";
    case Fault::kLabel: return "cross_entropy: a label outside the vocabulary";
  }
  return "an unknown fault";
}

__device__ inline void report_fault(int* word, Fault f) { atomicCAS(word, int(Fault::kNone), int(f)); }

}  // namespace facellava::cuda
