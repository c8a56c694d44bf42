#include "registry.hpp"

tool::Entry tool::entry_smollm2() { return entry<facellava::configs::kSmolLm2>("smollm2"); }
