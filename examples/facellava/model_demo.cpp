#include "registry.hpp"

tool::Entry tool::entry_demo() { return {"demo", facellava::configs::kDemo, open_model<facellava::configs::kDemo>}; }
