#include "trainers.hpp"

tool::Trainer tool::trainer_tiny() { return trainer<facellava::configs::kTiny>("tiny"); }
