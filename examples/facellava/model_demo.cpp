#include "registry.hpp"

tool::Entry tool::entry_demo() { return entry<facellava::configs::kDemo>("demo"); }
