#include "trainers.hpp"

tool::Trainer tool::trainer_7b() { return trainer<facellava::configs::kFaceLlava7B>("7b"); }
