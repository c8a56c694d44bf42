#include "trainers.hpp"

tool::Trainer tool::trainer_mini() { return trainer<facellava::configs::kFaceLlavaMini>("mini"); }
