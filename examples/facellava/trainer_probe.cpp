#include "trainers.hpp"

tool::Trainer tool::trainer_probe() { return trainer<facellava::configs::kProbe>("probe"); }
