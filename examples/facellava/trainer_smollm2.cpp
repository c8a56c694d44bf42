#include "trainers.hpp"

tool::Trainer tool::trainer_smollm2() { return trainer<facellava::configs::kSmolLm2>("smollm2"); }
