#include "registry.hpp"

tool::Entry tool::entry_mini() { return entry<facellava::configs::kFaceLlavaMini>("mini"); }
