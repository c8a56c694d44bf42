// How a model wants its faces cut out: faces/aligned_crop.hpp does it.
#pragma once

namespace facellava::faces {

enum class CropKind { kCentred, kAligned };

}  // namespace facellava::faces
