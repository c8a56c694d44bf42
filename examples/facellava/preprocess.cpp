// facellava preprocess: a picture or a video to the tensor that a tower takes.
#include "facellava/media/preprocess.hpp"

#include <iostream>

#include "facellava/io/safetensors_writer.hpp"
#include "options.hpp"
#include "picture_file.hpp"
#include "video_file.hpp"

namespace tool {
namespace {

using namespace facellava;

struct PreprocessOptions {
  std::string image, video, out, padding = "none", orientation = "reference";
  int side = 224, frames = 8;
};

void preprocess_picture(const PreprocessOptions& o) {
  const media::Image image =
      read_picture_file(o.image, o.orientation == "exif" ? media::Orientation::kExif : media::Orientation::kReference);
  media::Preprocess p;
  p.side = o.side;
  if (o.padding == "square") p.padding = media::Padding::kSquare;
  const std::vector<float> pixels = media::preprocess_image(image.view(), p);
  const io::NamedTensor tensor{"pixel_values", io::DType::kF32, {3, o.side, o.side}, std::as_bytes(std::span(pixels))};
  io::write_safetensors(o.out, std::span(&tensor, 1));
  std::cout << o.out << ": pixel_values [3, " << o.side << ", " << o.side << "] from " << image.width() << " x "
            << image.height() << "\n";
}

void preprocess_video(const PreprocessOptions& o) {
  if (o.padding != "none") throw Error(ErrorKind::kArgument, "--padding " + o.padding + ": videos are never padded");
  const VideoPixels video =
      read_video(o.video, o.frames, o.side, o.orientation == "exif" ? Turn::kDisplayMatrix : Turn::kReference);
  const auto plane = std::ptrdiff_t(o.side) * o.side;
  std::vector<float> pixels(video.pixels.size());  // [3, frames, side, side], as the released code has them
  for (std::ptrdiff_t f = 0; f < o.frames; ++f)
    for (std::ptrdiff_t c = 0; c < 3; ++c)
      std::copy_n(video.pixels.begin() + (f * 3 + c) * plane, plane, pixels.begin() + (c * o.frames + f) * plane);
  const std::vector<std::int64_t> indices(video.indices.begin(), video.indices.end());
  const io::NamedTensor tensors[] = {
      {"pixel_values", io::DType::kF32, {3, o.frames, o.side, o.side}, std::as_bytes(std::span(pixels))},
      {"frame_indices", io::DType::kI64, {o.frames}, std::as_bytes(std::span(indices))}};
  io::write_safetensors(o.out, tensors);
  std::cout << o.out << ": pixel_values [3, " << o.frames << ", " << o.side << ", " << o.side << "] from "
            << video.video.frames << " frames of " << video.video.width << " x " << video.video.height << "\n";
}

}  // namespace

void add_preprocess(CLI::App& app) {
  auto o = std::make_shared<PreprocessOptions>();
  CLI::App* command = app.add_subcommand(
      "preprocess",
      "Picture to normalised pixels [3, side, side], or video to [3, frames, side, side], as `pixel_values`");
  auto* image = command->add_option("--image", o->image, "JPEG, PNG, BMP or PPM");
  auto* video = command->add_option("--video", o->video, "Video file")->excludes(image);
  command->add_option("--frames", o->frames, "Evenly spread frames of a video")
      ->check(CLI::Range(1, 4096))
      ->needs(video)
      ->capture_default_str();
  command->add_option("--out", o->out, "safetensors file to write")->required();
  command->add_option("--side", o->side, "Pixels")->check(CLI::Range(1, 4096))->capture_default_str();
  command->add_option("--padding", o->padding, "none: as inference; square: as training")
      ->check(CLI::IsMember({"none", "square"}))
      ->capture_default_str();
  command
      ->add_option("--orientation", o->orientation,
                   "reference: as released (EXIF of a picture ignored, quarter turns of a video made); exif: of a "
                   "picture applied, "
                   "of a video mirrors too")
      ->check(CLI::IsMember({"reference", "exif"}))
      ->capture_default_str();
  command->callback([o] {
    if (o->image.empty() == o->video.empty()) throw Error(ErrorKind::kArgument, "give either --image or --video");
    o->image.empty() ? preprocess_video(*o) : preprocess_picture(*o);
  });
}

}  // namespace tool
