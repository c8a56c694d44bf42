#include "trainers.hpp"

tool::Trainer tool::trainer_demo() { return trainer<facellava::configs::kDemo>("demo"); }
