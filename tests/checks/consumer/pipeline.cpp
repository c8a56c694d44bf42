// Everything, from the installed package.
#include "facellava/run/pipeline.hpp"

#include <cstdio>
#include <cstring>

#include "facellava/cpu/device.hpp"
#include "facellava/faces/landmark_file.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/models/configs.hpp"

int main() try {
  facellava::run::ModelFolder folder({"/there/is/no/such/folder"});
  return 1;
} catch (const facellava::Error& e) {
  std::puts(e.what());
  return std::strstr(e.what(), "/there/is/no/such/folder") ? 0 : 1;
}
