#include "requests.hpp"

#include <filesystem>

#include "facellava/faces/landmark_file.hpp"
#include "facellava/io/safetensors.hpp"
#include "facellava/media/preprocess.hpp"
#include "facellava/media/preprocess_video.hpp"
#include "picture_file.hpp"
#include "video_file.hpp"

namespace tool {

using namespace facellava;

void Question::add_to(CLI::App& app, std::vector<std::string>& landmarks_option) {
  app.add_option("--image", images,
                 "Picture (JPEG, PNG), or F.safetensors:tensor of [3, H, W], preprocessed; repeatable");
  app.add_option("--video", video,
                 "Video file, of which 8 frames are looked at, or F.safetensors:tensor: [3, 8, H, W] preprocessed, or "
                 "[8, H, W, 3] uint8 frames");
  app.add_option("--landmarks", landmarks_option,
                 "68 points in pixels of the given picture (.npy, .pts, .json), one file a picture (of all frames, a "
                 "video); none; or auto: each face of a picture, each person of a video is found, cut out and asked "
                 "about; default: auto where the model uses landmarks");
  finder.add_to(app);
  app.add_option(
         "--missing-faces", missing_faces,
         "Where a person's face is not found in frames of a video: error, carry (the frame before), interpolate")
      ->check(CLI::IsMember({"error", "carry", "interpolate"}))
      ->capture_default_str();
  auto* q = app.add_option("--question", question, "A question, put into the prompt template");
  app.add_option("--prompt", prompt, "The whole prompt, verbatim, with <image> where pictures stand")->excludes(q);
  app.add_option("--template", prompt_template,
                 "v1, llava_v1, plain, chatml, smollm2 or raw; default: the model's own");
}

void Question::take_landmarks(const std::vector<std::string>& given) {
  if (given.empty()) find_faces = FindFaces::kIfNeeded;
  if (given == std::vector<std::string>{"auto"}) {
    find_faces = FindFaces::kAlways;
    return;
  }
  const auto none = std::count(given.begin(), given.end(), "none");
  without_landmarks = none > 0 && none == std::ptrdiff_t(given.size());
  if (without_landmarks) return;
  for (const std::string& file : given) landmarks.push_back(file == "none" ? std::nullopt : std::optional(file));
}

namespace {

std::string resolve(const std::string& path, const std::filesystem::path& folder) {
  const std::string file = path.substr(0, path.find(".safetensors:"));
  if (std::filesystem::path(path).is_relative() &&
      std::filesystem::exists(folder / (file == path ? path : file + ".safetensors")))
    return (folder / path).string();
  return path;
}

// F.safetensors:tensor, or nothing.
std::optional<std::pair<std::string, std::string>> tensor_name(const std::string& path) {
  const auto at = path.find(".safetensors:");
  if (at == std::string::npos) return {};
  return std::pair{path.substr(0, at + 12), path.substr(at + 13)};
}

// What is known of a medium before it is a tensor: landmarks are pixels of this picture.
struct Size {
  int width, height;
  int frames = 0;  // of a video file
};

run::MediumInput read_picture(const std::string& path, const TowerConfig& tower, Size& size) {
  const media::Image image = read_picture_file(path);
  size = {image.width(), image.height()};
  media::Preprocess p;
  p.side = tower.side;
  run::MediumInput m{text::Medium::kImage, std::vector<float>(std::size_t(3 * tower.side * tower.side)), {}};
  media::preprocess_image(m.pixels.data(), image.view(), p);
  return m;
}

run::MediumInput read_clip(const std::string& path, const FaceLlavaConfig& c, Size& size) {
  if (c.video.layers == 0) throw Error(ErrorKind::kArgument, path + ": the model has no tower for videos");
  VideoPixels video = read_video(path, c.video.block.frames, c.video.side);
  size = {video.video.width, video.video.height, video.video.frames};
  return {text::Medium::kVideo, std::move(video.pixels), {}};
}

void check_side(Index expected, std::span<const Index> found, const std::string& where) {
  for (Index side : found) check_equal(expected, side, where + ": pixels of a side");
}

// [frames, 3, side, side] from a tensor of an image [3, H, W], of a video [3, frames, H, W], or of uint8 frames
// [frames, H, W, 3].
run::MediumInput read_tensor(const std::string& file, const std::string& name, const FaceLlavaConfig& c, Size& size) {
  const io::Safetensors tensors(file);
  const io::TensorEntry& t = tensors.at(name);
  auto shape = t.shape;
  if (shape.size() > 3 && shape[0] == 1) shape.erase(shape.begin());  // a batch of one
  const std::string where = file + ", tensor " + name;
  if (shape.size() == 4 && c.video.layers == 0)
    throw Error(ErrorKind::kArgument, where + ": the model has no tower for videos");
  run::MediumInput m;
  if (shape.size() == 4 && shape[3] == 3 && t.dtype == io::DType::kU8) {
    m.kind = text::Medium::kVideo;
    check_equal(c.video.block.frames, shape[0], where + ": frames");
    if (t.bytes.empty()) throw Error(ErrorKind::kShape, where + ": the frames have no pixels");
    size = {int(shape[2]), int(shape[1])};
    media::Preprocess p;
    p.side = c.video.side;
    const Index plane = Index(3) * p.side * p.side;
    m.pixels.resize(std::size_t(shape[0] * plane));
    for (Index f = 0; f < shape[0]; ++f)
      media::preprocess_video_frame(
          m.pixels.data() + f * plane,
          {reinterpret_cast<const std::uint8_t*>(t.bytes.data()) + f * shape[1] * shape[2] * 3, size.width, size.height,
           std::ptrdiff_t(3) * size.width, media::PixelFormat::kRgb},
          p);
    return m;
  }
  if ((shape.size() != 3 && shape.size() != 4) || shape[0] != 3)
    throw Error(
        ErrorKind::kShape,
        where + ": expected [3, H, W], [3, frames, H, W] or uint8 [frames, H, W, 3], found " + io::shape_text(t.shape));
  if (shape.size() == 4) check_equal(c.video.block.frames, shape[1], where + ": frames");
  check_side(shape.size() == 3 ? c.image.side : c.video.side, std::span(shape).last(2), where);
  const std::vector<float> values = io::to_floats(t);
  size = {int(shape.back()), int(shape[shape.size() - 2])};
  if (shape.size() == 3) {
    m.pixels = values;
    return m;
  }
  m.kind = text::Medium::kVideo;
  const Index frames = shape[1], plane = shape[2] * shape[3];
  m.pixels.resize(values.size());
  for (Index ch = 0; ch < 3; ++ch)
    for (Index f = 0; f < frames; ++f)
      std::copy_n(values.begin() + (ch * frames + f) * plane, plane, m.pixels.begin() + (f * 3 + ch) * plane);
  return m;
}

void read_points(run::MediumInput& m, const std::string& path, const Loaded& model, Size size) {
  const auto faces = faces::read_landmarks(path);
  const int frames = m.kind == text::Medium::kImage ? 1 : model.model->config().video.block.frames;
  if (m.kind == text::Medium::kImage)
    check_equal(1, faces.size(), path + ": faces for one picture", ErrorKind::kArgument);
  if (int(faces.size()) < frames)
    throw Error(ErrorKind::kArgument, path + ": expected landmarks of at least " + std::to_string(frames) +
                                          " frames, found " + std::to_string(faces.size()));
  if (size.frames > 0 && int(faces.size()) != frames)
    check_equal(size.frames, faces.size(), path + ": landmarks of the video's frames", ErrorKind::kArgument);
  for (int at : media::linspace_indices(int(faces.size()), frames)) {
    const auto z = faces::normalise(faces[std::size_t(at)], model.folder.settings().landmarks, size.width, size.height);
    m.points.insert(m.points.end(), z.begin(), z.end());
  }
}

}  // namespace

std::vector<Question> read_requests(const std::string& file) {
  const auto json = io::read_json(file);
  const auto folder = std::filesystem::path(file).parent_path();
  if (!json.is_array() || json.empty())
    throw Error(ErrorKind::kFormat, file + ": expected an array of requests, found " +
                                        (json.is_array() ? "an empty one" : json.type_name()));
  std::vector<Question> out;
  for (const auto& r : json) {
    const std::string where = file + ", request " + std::to_string(out.size());
    if (!r.is_object()) throw Error(ErrorKind::kFormat, where + ": expected an object, found " + r.type_name());
    for (const auto& [key, value] : r.items())
      if (key != "prompt" && key != "question" && key != "images" && key != "video" && key != "landmarks" &&
          key != "template")
        throw Error(ErrorKind::kFormat, where + ": unknown key \"" + key + "\"");
    Question q;
    q.prompt = io::optional<std::string>(r, "prompt", where).value_or("");
    q.question = io::optional<std::string>(r, "question", where).value_or("");
    q.prompt_template = io::optional<std::string>(r, "template", where).value_or("");
    if (q.prompt.empty() == q.question.empty())
      throw Error(ErrorKind::kFormat, where + ": give either \"prompt\" or \"question\"");
    for (const std::string& image :
         io::optional<std::vector<std::string>>(r, "images", where).value_or(std::vector<std::string>()))
      q.images.push_back(resolve(image, folder));
    if (const auto video = io::optional<std::string>(r, "video", where)) q.video = resolve(*video, folder);
    if (r.contains("landmarks") && r["landmarks"].is_string()) {
      if (r["landmarks"] != "none")
        throw Error(ErrorKind::kFormat, where + ": \"landmarks\": expected an array or \"none\"");
      q.without_landmarks = true;
    } else if (const auto list = io::optional<nlohmann::json>(r, "landmarks", where)) {
      if (!list->is_array())
        throw Error(ErrorKind::kFormat,
                    where + ": \"landmarks\": expected an array or \"none\", found " + list->type_name());
      for (const auto& l : *list) {
        if (!l.is_string() && !l.is_null())
          throw Error(ErrorKind::kFormat,
                      where + ": \"landmarks\": expected a file name or null, found " + l.type_name());
        q.landmarks.push_back(l.is_null() ? std::nullopt : std::optional(resolve(l.get<std::string>(), folder)));
      }
    }
    out.push_back(std::move(q));
  }
  return out;
}

void finish(Prepared& p, const Question& q, std::span<const text::Medium> kinds, const Loaded& model) {
  if (q.prompt.empty() && q.question.empty())
    throw Error(ErrorKind::kArgument, "give --question, --prompt or --requests");
  const auto& settings = model.folder.settings();
  const auto which = q.prompt_template.empty() ? settings.prompt_template : text::template_from_name(q.prompt_template);
  p.prompt = q.prompt.empty() ? text::question_prompt(which, q.question, kinds) : q.prompt;
  p.request.ids = text::encode_prompt(model.tokenizer, p.prompt, settings.bos);
}

namespace {

bool finds_faces(const Question& q, const Loaded& model) {
  if (q.find_faces == Question::FindFaces::kAlways) return true;
  const bool one = q.images.size() + !q.video.empty() == 1;
  return q.find_faces == Question::FindFaces::kIfNeeded && one &&
         !tensor_name(q.video.empty() ? q.images[0] : q.video) &&
         model.model->landmark_modules() == run::LandmarkModules::kLoaded;
}

}  // namespace

std::vector<Prepared> prepare(const Question& q, const Loaded& model) {
  if (finds_faces(q, model)) {
    if (q.images.size() + !q.video.empty() != 1 || tensor_name(q.video.empty() ? q.images[0] : q.video))
      throw Error(ErrorKind::kArgument, "--landmarks auto: expected one picture or one video to find faces in");
    return q.video.empty() ? prepare_faces(q, model) : prepare_people(q, model);
  }
  const FaceLlavaConfig& c = model.model->config();
  Prepared out;
  std::vector<Size> sizes;
  std::vector<text::Medium> kinds;
  std::vector<std::string> paths = q.images;
  if (!q.video.empty()) paths.push_back(q.video);
  for (const std::string& path : paths) {
    Size size{};
    const auto tensor = tensor_name(path);
    const bool is_video = &path == &paths.back() && !q.video.empty();
    if (!tensor && !is_video && c.image.layers == 0)
      throw Error(ErrorKind::kArgument, "the model has no tower for images");
    out.request.media.push_back(tensor     ? read_tensor(tensor->first, tensor->second, c, size)
                                : is_video ? read_clip(path, c, size)
                                           : read_picture(path, c.image, size));
    sizes.push_back(size);
    kinds.push_back(out.request.media.back().kind);
  }
  const auto given = std::count_if(q.landmarks.begin(), q.landmarks.end(), [](const auto& l) { return l.has_value(); });
  if (!q.landmarks.empty())
    check_equal(paths.size(), q.landmarks.size(), "landmarks for the pictures and videos", ErrorKind::kArgument);
  if (!paths.empty() && given == 0 && !q.without_landmarks &&
      model.model->landmark_modules() == run::LandmarkModules::kLoaded)
    throw Error(
        ErrorKind::kArgument,
        "the model uses landmarks: give --landmarks FILE for each picture, or --landmarks none; faces are found in "
        "one picture or video alone (auto)");
  for (std::size_t i = 0; i < q.landmarks.size(); ++i)
    if (q.landmarks[i]) read_points(out.request.media[i], *q.landmarks[i], model, sizes[i]);
  out.landmarks_used = given > 0;
  if (given > 0 && paths.size() == 1 && q.video.empty() && !tensor_name(paths[0]))
    out.seen = Seen{read_picture_file(paths[0]), faces::read_landmarks(*q.landmarks[0])[0]};
  finish(out, q, kinds, model);
  std::vector<Prepared> one;
  one.push_back(std::move(out));
  return one;
}

std::vector<Prepared> prepare_all(std::span<const Question> questions, const Loaded& model) {
  std::vector<Prepared> out;
  for (const Question& q : questions) try {
      for (Prepared& p : prepare(q, model)) out.push_back(std::move(p));
    } catch (const Error& e) {
      if (questions.size() == 1) throw;
      throw Error(e.kind(), "request " + std::to_string(&q - questions.data()) + ": " + e.what());
    }
  return out;
}

}  // namespace tool
