#include "registry.hpp"

tool::Entry tool::entry_tiny() { return {"tiny", facellava::configs::kTiny, open_model<facellava::configs::kTiny>}; }
