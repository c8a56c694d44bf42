#include "requests.hpp"

#include <filesystem>

#include "facellava/media/preprocess.hpp"
#include "facellava/run/media_files.hpp"
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

// As run::read_picture, by the tool's decoders.
run::ReadMedium read_picture(const std::string& path, const TowerConfig& tower) {
  if (tower.layers == 0) throw Error(ErrorKind::kArgument, path + ": the model has no tower for images");
  const media::Image image = read_picture_file(path);
  media::Preprocess p;
  p.side = tower.side;
  return {{text::Medium::kImage, media::preprocess_image(image.view(), p), {}}, {image.width(), image.height()}};
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
         !run::tensor_name(q.video.empty() ? q.images[0] : q.video) &&
         model.model->landmark_modules() == run::LandmarkModules::kLoaded;
}

}  // namespace

std::vector<Prepared> prepare(const Question& q, const Loaded& model) {
  if (finds_faces(q, model)) {
    if (q.images.size() + !q.video.empty() != 1 || run::tensor_name(q.video.empty() ? q.images[0] : q.video))
      throw Error(ErrorKind::kArgument, "--landmarks auto: expected one picture or one video to find faces in");
    return q.video.empty() ? prepare_faces(q, model) : prepare_people(q, model);
  }
  const FaceLlavaConfig& c = model.model->config();
  Prepared out;
  std::vector<run::MediumSize> sizes;
  std::vector<text::Medium> kinds;
  std::vector<std::string> paths = q.images;
  if (!q.video.empty()) paths.push_back(q.video);
  for (const std::string& path : paths) {
    const auto tensor = run::tensor_name(path);
    const bool is_video = &path == &paths.back() && !q.video.empty();
    run::ReadMedium medium = tensor     ? run::read_tensor(*tensor, c)
                             : is_video ? run::read_video(path, c.video, video_source())
                                        : read_picture(path, c.image);
    sizes.push_back(medium.size);
    kinds.push_back(medium.input.kind);
    out.request.media.push_back(std::move(medium.input));
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
    if (q.landmarks[i])
      out.request.media[i].points =
          run::read_points(*q.landmarks[i], kinds[i], sizes[i], c, model.folder.settings().landmarks);
  out.landmarks_used = given > 0;
  if (given > 0 && paths.size() == 1 && q.video.empty() && !run::tensor_name(paths[0]))
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
