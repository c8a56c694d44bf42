// Picture files, by libjpeg-turbo where the tool is built with it.
#pragma once
#include <string>

#include "facellava/media/decode.hpp"
#ifdef FACELLAVA_TOOL_TURBOJPEG
#include "facellava/media/turbojpeg.hpp"
#endif

namespace tool {

inline facellava::media::Image read_picture_file(
    const std::string& path, facellava::media::Orientation orientation = facellava::media::Orientation::kReference) {
  facellava::media::DecodeOptions options{.orientation = orientation};
#ifdef FACELLAVA_TOOL_TURBOJPEG
  options.jpeg = facellava::media::decode_turbojpeg;
#endif
  return facellava::media::read_image(path, options);
}

}  // namespace tool
