// Questions to a model that has looked at a face: answers in words, and the probabilities of the answers that could be.
#pragma once
#include "facellava/run/pipeline.hpp"
#include "stages.hpp"

namespace demo {

enum class Topic { kEmotion, kActionUnits, kAge, kPerson, kForgery, kCourse };  // kCourse: of a clip

// Asks one question and prints what is said, as it is said.
void ask(facellava::run::Viewing&, Topic, Stages&);

}  // namespace demo
