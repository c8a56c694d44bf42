// Which parts of a FaceLlava are trained, for FaceLlava::PartParams. P: the policy of what is trained; Frozen: of the
// rest. Gradients: P = Plain<float, Host>, Frozen = Absent. Weights: Frozen = Stored<Host>, or P.
#pragma once
#include "facellava/core/weight.hpp"

namespace facellava {

// The released code's pretraining: the landmark modules alone.
template <class P, class Frozen = Absent>
struct Stage1 {
  using Towers = Frozen;
  using Projector = Frozen;
  using Landmarks = P;
  using Text = Frozen;
};
// The released code's fine-tuning: all but the towers.
template <class P, class Frozen = Absent>
struct Stage2 {
  using Towers = Frozen;
  using Projector = P;
  using Landmarks = P;
  using Text = P;
};

}  // namespace facellava
