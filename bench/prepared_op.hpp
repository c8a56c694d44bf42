// An op with operands, ready to be verified and timed.
#pragma once
#include <functional>

#include "cases.hpp"
#include "work.hpp"

namespace facellava::bench {

struct PreparedOp {
  std::function<void()> run;
  std::function<double()> error;  // against ref in double: of a sample where the whole would take minutes
  double tolerance = 0;
  Work work;
};

// Errors: kArgument (an op that does not take this format). dev must outlive the result.
PreparedOp prepare_op(cpu::Device& dev, const Case& c, Format weights);

PreparedOp prepare_linear(cpu::Device& dev, const std::vector<Index>& shape, Format weights);
PreparedOp prepare_attention(cpu::Device& dev, const std::vector<Index>& shape, Format keys, Mask mask);

}  // namespace facellava::bench
