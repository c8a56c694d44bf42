// Reads 68-point landmark files, of one picture or of the frames of a video:
//   .npy   [68, 2], [136], [frames, 68, 2] or [frames, 136]
//   .json  68 pairs or 136 numbers, the same under the key "landmarks", or an array of such frames
//          or what `facellava faces --json` prints, of a picture with one face
//   .pts   iBUG's text: version, n_points, a pair a line between braces
//   .xml   dlib's imglab, of pictures with one face each (dlib_xml.hpp reads any)
// Frames of 468 or 478 points (x, y or x, y, z in pixels) are MediaPipe's face mesh, of which the 68 are taken.
// Coordinates stay as the file has them (iBUG counts pixels from 1); a point that is no number is reported by
// normalise, where a frame is used. Errors of a wrong count name the layout that it looks like.
#pragma once
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/faces/dlib_xml.hpp"
#include "facellava/io/json.hpp"
#include "facellava/io/mapped_file.hpp"
#include "facellava/io/npy.hpp"

namespace facellava::faces {

namespace detail {

inline std::vector<Landmarks> npy_meshes(const io::Npy& file, std::size_t points, std::size_t width,
                                         const std::string& path) {
  std::vector<Landmarks> frames;
  for (std::size_t at = 0; at < file.values.size(); at += points * width) {
    std::vector<float> frame;
    for (std::size_t i = 0; i < points; ++i)
      for (std::size_t k = 0; k < 2; ++k) frame.push_back(float(file.values[at + i * width + k]));
    frames.push_back(mesh_frame(frame, path));
  }
  if (frames.empty()) throw Error(ErrorKind::kShape, path + ": expected landmarks, found an empty array");
  return frames;
}

inline std::vector<Landmarks> npy_frames(const std::string& path) {
  constexpr std::size_t kMaxNpyBytes = std::size_t(1) << 28;
  const io::Npy file = io::read_npy(path, kMaxNpyBytes);
  const auto& shape = file.shape;
  const bool flat = !shape.empty() && shape.back() == 2 * kPoints && shape.size() <= 2;
  if (!flat) {
    if (shape.size() < 2 || shape.size() > 3)
      throw Error(ErrorKind::kShape, path + ": expected landmarks of shape [68, 2], [136], [frames, 68, 2] or " +
                                         "[frames, 136], found " + io::shape_text(shape));
    const auto points = std::size_t(shape[shape.size() - 2]), width = std::size_t(shape.back());
    if (is_mesh(points) && (width == 2 || width == 3)) return npy_meshes(file, points, width, path);
    if (points != kPoints) wrong_count(path, points);
    if (width != 2) wrong_width(path, width);
  }
  std::vector<Landmarks> frames;
  const std::vector<float> numbers(file.values.begin(), file.values.end());
  const std::span<const float> values(numbers);
  if (values.empty()) throw Error(ErrorKind::kShape, path + ": expected landmarks, found an empty array");
  for (std::size_t at = 0; at < values.size(); at += 2 * kPoints)
    frames.push_back(frame_of(values.subspan(at, std::min<std::size_t>(2 * kPoints, values.size() - at)), path));
  return frames;
}

inline bool is_point(const nlohmann::json& v) {
  return v.is_array() && (v.size() == 2 || v.size() == 3) &&
         std::all_of(v.begin(), v.end(), [](const auto& x) { return x.is_number(); });
}

inline float number_of(const nlohmann::json& v, const std::string& where) {
  if (!v.is_number())
    throw Error(ErrorKind::kFormat, where + ": expected a number, found " + std::string(v.type_name()));
  return v.get<float>();
}

// The value of "landmarks" where v is an object, of its one face where it has "faces"; else v itself. Always an array
// that is not empty.
inline const nlohmann::json& unwrapped(const nlohmann::json& v, const std::string& where) {
  const nlohmann::json* inner = &v;
  if (const auto faces = v.find("faces"); faces != v.end()) {
    if (!faces->is_array() || faces->size() != 1)
      throw Error(ErrorKind::kFormat, where + ": expected one face, found " +
                                          (faces->is_array() ? std::to_string(faces->size()) : faces->type_name()));
    inner = &faces->front();
  }
  if (inner->is_object()) {
    const auto member = inner->find("landmarks");
    if (member == inner->end()) throw Error(ErrorKind::kFormat, where + ": the key \"landmarks\" is missing");
    inner = &*member;
  }
  if (!inner->is_array() || inner->empty())
    throw Error(ErrorKind::kFormat, where + ": expected an array of landmarks, found " +
                                        (inner->is_array() ? "an empty one" : inner->type_name()));
  return *inner;
}

inline Landmarks json_frame(const nlohmann::json& value, const std::string& where) {
  const nlohmann::json& v = unwrapped(value, where);
  std::vector<float> numbers;
  if (v.front().is_number()) {
    if (v.size() != 2 * kPoints && !is_mesh(v.size() / 2)) wrong_count(where, v.size() / 2);
    for (const auto& x : v) numbers.push_back(number_of(x, where));
  } else {
    const bool mesh = is_mesh(v.size());
    if (!mesh && v.size() != kPoints) wrong_count(where, v.size());
    for (std::size_t i = 0; i < v.size(); ++i) {
      const std::string at = where + ", landmark " + std::to_string(i);
      if (!v[i].is_array())
        throw Error(ErrorKind::kFormat, at + ": expected a pair of numbers, found " + std::string(v[i].type_name()));
      if (v[i].size() != 2 && !(mesh && v[i].size() == 3)) wrong_width(at, v[i].size());
      for (std::size_t k = 0; k < 2; ++k) numbers.push_back(number_of(v[i][k], at));
    }
  }
  return frame_of(numbers, where);
}

inline std::vector<Landmarks> json_frames(const nlohmann::json& value, const std::string& path) {
  const nlohmann::json& v = unwrapped(value, path);
  if (v.front().is_number() || is_point(v.front())) return {json_frame(v, path)};
  std::vector<Landmarks> frames;
  for (std::size_t i = 0; i < v.size(); ++i) frames.push_back(json_frame(v[i], path + ", frame " + std::to_string(i)));
  return frames;
}

// The words of a text, with the line each stands in.
class Words {
 public:
  Words(std::string_view text, const std::string& path) : text_(text), path_(path) {}
  // Empty at the end of the text.
  std::string_view next() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) line_ += text_[at_++] == '\n';
    const std::size_t first = at_;
    while (at_ < text_.size() && !std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    return text_.substr(first, at_ - first);
  }
  void expect(std::string_view word) {
    const auto found = next();
    if (found != word) fail("\"" + std::string(word) + "\"", found);
  }
  template <class T>
  T number() {
    const auto word = next();
    T value{};
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size()) fail("a number", word);
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& expected, std::string_view found) const {
    throw Error(ErrorKind::kFormat,
                path_ + ", line " + std::to_string(line_) + ": expected " + expected + ", found " +
                    (found.empty() ? "the end of the file" : "\"" + std::string(found.substr(0, 40)) + "\""));
  }
  std::string_view text_;
  const std::string& path_;
  std::size_t at_ = 0, line_ = 1;
};

inline Landmarks pts_frame(std::string_view text, const std::string& path) {
  Words words(text, path);
  words.expect("version:");
  words.number<float>();
  words.expect("n_points:");
  const auto points = words.number<std::uint32_t>();
  if (points != kPoints && !is_mesh(points)) wrong_count(path, points);
  words.expect("{");
  std::vector<float> numbers;
  for (std::uint32_t i = 0; i < 2 * points; ++i) numbers.push_back(words.number<float>());
  words.expect("}");
  return frame_of(numbers, path);
}

inline std::vector<Landmarks> dlib_frames(const std::string& path) {
  std::vector<Landmarks> frames;
  for (const LabelledImage& image : read_dlib_xml(path)) {
    if (image.faces.size() != 1 || !image.faces[0].landmarks)
      throw Error(ErrorKind::kFormat, path + ", " + image.file + ": expected one face with landmarks, found " +
                                          std::to_string(image.faces.size()) +
                                          (image.faces.size() == 1 ? " without any" : ""));
    frames.push_back(*image.faces[0].landmarks);
  }
  if (frames.empty()) throw Error(ErrorKind::kFormat, path + ": expected pictures, found none");
  return frames;
}

}  // namespace detail

// The frames of a landmark file, one for a picture; the format is told by the ending of its name.
// Errors: kFile, kFormat (broken contents, an unknown ending), kShape (another layout), kCapacity (an absurd size).
inline std::vector<Landmarks> read_landmarks(const std::string& path) {
  constexpr std::size_t kMaxPtsBytes = std::size_t(1) << 20;
  std::string ending = path.substr(std::min(path.rfind('.'), path.size()));
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  if (ending == ".npy") return detail::npy_frames(path);
  if (ending == ".json") return detail::json_frames(io::read_json(path), path);
  if (ending == ".xml") return detail::dlib_frames(path);
  if (ending != ".pts")
    throw Error(ErrorKind::kFormat, path + ": expected landmarks in a file that ends with .npy, .json, .pts or .xml");
  const io::MappedFile file(path, io::Load::kCopy, kMaxPtsBytes);
  return {detail::pts_frame({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path)};
}

}  // namespace facellava::faces
