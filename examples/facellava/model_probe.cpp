#include "registry.hpp"

tool::Entry tool::entry_probe() { return entry<facellava::configs::kProbe>("probe"); }
