// Pictures, videos and landmarks from files to what a session or a trainer takes.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "facellava/faces/landmark_file.hpp"
#include "facellava/faces/landmarks.hpp"
#include "facellava/io/safetensors.hpp"
#include "facellava/media/decode.hpp"
#include "facellava/media/preprocess.hpp"
#include "facellava/media/preprocess_video.hpp"
#include "facellava/models/config.hpp"
#include "facellava/run/request.hpp"

namespace facellava::run {

// What landmarks are pixels of.
struct MediumSize {
  int width = 0, height = 0;
  int frames = 0;  // of a video file; 0 for what is no video file
};

struct ReadMedium {
  MediumInput input;  // without points
  MediumSize size;
};

// Frames of a video file, evenly spread from its first to its last: [count, 3, side, side], preprocessed. Video files
// need FFmpeg, which no header here does: the program lends this (media/video.hpp makes one).
struct VideoPixels {
  MediumSize size;
  std::vector<float> pixels;
};
using VideoSource = std::function<VideoPixels(const std::string& path, int count, int side)>;

// F.safetensors:tensor stands for a tensor of that file.
struct TensorName {
  std::string file, tensor;
};
inline std::optional<TensorName> tensor_name(const std::string& path) {
  constexpr std::string_view kMark = ".safetensors:";
  const auto at = path.find(kMark);
  if (at == std::string::npos) return {};
  return TensorName{path.substr(0, at + kMark.size() - 1), path.substr(at + kMark.size())};
}

inline ReadMedium read_picture(const std::string& path, const TowerConfig& tower,
                               media::Padding padding = media::Padding::kNone) {
  if (tower.layers == 0) throw Error(ErrorKind::kArgument, path + ": the model has no tower for images");
  const media::Image image = media::read_image(path);
  media::Preprocess p;
  p.side = tower.side;
  p.padding = padding;
  return {{text::Medium::kImage, media::preprocess_image(image.view(), p), {}}, {image.width(), image.height()}};
}

inline ReadMedium read_video(const std::string& path, const TowerConfig& tower, const VideoSource& source) {
  if (tower.layers == 0) throw Error(ErrorKind::kArgument, path + ": the model has no tower for videos");
  if (!source) throw Error(ErrorKind::kArgument, path + ": expected a program that reads video files");
  VideoPixels video = source(path, tower.block.frames, tower.side);
  return {{text::Medium::kVideo, std::move(video.pixels), {}}, video.size};
}

namespace detail {

// uint8 [frames, H, W, 3]
inline ReadMedium read_frames(const io::TensorEntry& t, std::span<const Index> shape, const TowerConfig& tower,
                              const std::string& where) {
  check_equal(tower.block.frames, shape[0], where + ": frames");
  if (t.bytes.empty()) throw Error(ErrorKind::kShape, where + ": the frames have no pixels");
  ReadMedium out{{text::Medium::kVideo, {}, {}}, {int(shape[2]), int(shape[1])}};
  media::Preprocess p;
  p.side = tower.side;
  const Index plane = Index(3) * p.side * p.side;
  out.input.pixels.resize(std::size_t(shape[0] * plane));
  for (Index f = 0; f < shape[0]; ++f)
    media::preprocess_video_frame(
        out.input.pixels.data() + f * plane,
        {reinterpret_cast<const std::uint8_t*>(t.bytes.data()) + f * shape[1] * shape[2] * 3, out.size.width,
         out.size.height, std::ptrdiff_t(3) * out.size.width, media::PixelFormat::kRgb},
        p);
  return out;
}

// [3, frames, H, W] to [frames, 3, H, W]
inline std::vector<float> frames_first(std::span<const float> values, Index frames, Index plane) {
  std::vector<float> out(values.size());
  for (Index ch = 0; ch < 3; ++ch)
    for (Index f = 0; f < frames; ++f)
      std::copy_n(values.begin() + (ch * frames + f) * plane, plane, out.begin() + (f * 3 + ch) * plane);
  return out;
}

}  // namespace detail

// An image of a tensor [3, H, W], a video of [3, frames, H, W] (both preprocessed), or of uint8 frames
// [frames, H, W, 3]; a batch of one is taken off. Errors: as io::Safetensors; kShape; kArgument (no such tower).
inline ReadMedium read_tensor(const TensorName& name, const FaceLlavaConfig& c) {
  const io::Safetensors tensors(name.file);
  const io::TensorEntry& t = tensors.at(name.tensor);
  auto shape = t.shape;
  if (shape.size() > 3 && shape[0] == 1) shape.erase(shape.begin());
  const std::string where = name.file + ", tensor " + name.tensor;
  const bool video = shape.size() == 4;
  if (video && c.video.layers == 0) throw Error(ErrorKind::kArgument, where + ": the model has no tower for videos");
  if (video && shape[3] == 3 && t.dtype == io::DType::kU8) return detail::read_frames(t, shape, c.video, where);
  if ((shape.size() != 3 && !video) || shape[0] != 3)
    throw Error(
        ErrorKind::kShape,
        where + ": expected [3, H, W], [3, frames, H, W] or uint8 [frames, H, W, 3], found " + io::shape_text(t.shape));
  if (video) check_equal(c.video.block.frames, shape[1], where + ": frames");
  for (const Index side : std::span(shape).last(2))
    check_equal(video ? c.video.side : c.image.side, side, where + ": pixels of a side");
  ReadMedium out{{video ? text::Medium::kVideo : text::Medium::kImage, io::to_floats(t), {}},
                 {int(shape.back()), int(shape[shape.size() - 2])}};
  if (video) out.input.pixels = detail::frames_first(out.input.pixels, shape[1], shape[2] * shape[3]);
  return out;
}

// The landmarks of a file as a model takes them: of one face for a picture; for a video of each frame looked at, or of
// all its frames, of which those are picked.   [frames, 136]
// Errors: as faces::read_landmarks and faces::normalise; kArgument (another number of faces).
inline std::vector<float> read_points(const std::string& path, text::Medium kind, const MediumSize& size,
                                      const FaceLlavaConfig& c, faces::LandmarkNormalisation normalisation) {
  const auto faces = faces::read_landmarks(path);
  const int frames = kind == text::Medium::kImage ? 1 : c.video.block.frames;
  if (kind == text::Medium::kImage)
    check_equal(1, faces.size(), path + ": faces for one picture", ErrorKind::kArgument);
  if (int(faces.size()) < frames)
    throw Error(ErrorKind::kArgument, path + ": expected landmarks of at least " + std::to_string(frames) +
                                          " frames, found " + std::to_string(faces.size()));
  if (size.frames > 0 && int(faces.size()) != frames)
    check_equal(size.frames, faces.size(), path + ": landmarks of the video's frames", ErrorKind::kArgument);
  std::vector<float> points;
  for (const int at : media::linspace_indices(int(faces.size()), frames)) {
    const auto z = faces::normalise(faces[std::size_t(at)], normalisation, size.width, size.height);
    points.insert(points.end(), z.begin(), z.end());
  }
  return points;
}

}  // namespace facellava::run
