#include "registry.hpp"

tool::Entry tool::entry_7b() { return entry<facellava::configs::kFaceLlava7B, facellava::bf16>("facellava-7b"); }
