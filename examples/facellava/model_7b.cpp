#include "registry.hpp"

tool::Entry tool::entry_7b() {
  return {"facellava-7b", facellava::configs::kFaceLlava7B, open_model<facellava::configs::kFaceLlava7B>};
}
