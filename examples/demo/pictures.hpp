// What the demo draws: the picture with boxes, numbers and the 68 points of the nine regions on the left, what the
// regions are looked at by on the right.
#pragma once
#include <span>

#include "facellava/media/image.hpp"
#include "subject.hpp"

namespace demo {

// weights: Viewing::region_attention() of each person.
facellava::media::Image annotated(const Subject&, std::span<const std::vector<float>> weights);
// One above the other.
facellava::media::Image stacked(std::span<const facellava::media::Image>);

}  // namespace demo
