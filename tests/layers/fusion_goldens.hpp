// The sizes of goldens/frlp_frgca.
#pragma once
#include "facellava/layers/fusion.hpp"

namespace facellava::test {

inline constexpr int kDim = 24, kTower = 16;
inline constexpr FusionConfig kSimple{.dim = kDim};
inline constexpr FusionConfig kMasked{.dim = kDim, .kind = FusionKind::kMasked};

}  // namespace facellava::test
