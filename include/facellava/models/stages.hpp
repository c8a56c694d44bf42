// Which parts of a FaceLlava have gradients, for FaceLlava::Gradients. P: the policy of what is trained.
#pragma once
#include "facellava/core/weight.hpp"

namespace facellava {

// The released code's pretraining: the landmark modules alone.
template <class P>
struct Stage1 {
  using Towers = Absent;
  using Projector = Absent;
  using Landmarks = P;
  using Text = Absent;
};
// The released code's fine-tuning: all but the towers.
template <class P>
struct Stage2 {
  using Towers = Absent;
  using Projector = P;
  using Landmarks = P;
  using Text = P;
};

}  // namespace facellava
