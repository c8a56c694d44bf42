#include "registry.hpp"

tool::Entry tool::entry_tiny() { return entry<facellava::configs::kTiny>("tiny"); }
