// Pixels and a question in, words out: what a host program uses. A picture is encoded and prefilled once, then asked as
// often as one likes.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "facellava/media/preprocess.hpp"
#include "facellava/media/preprocess_video.hpp"
#include "facellava/run/generate.hpp"
#include "facellava/run/model.hpp"
#include "facellava/text/load_tokenizer.hpp"
#include "facellava/text/stream_decoder.hpp"

namespace facellava::run {

// The weights that visual tokens gave the nine regions, mean over heads.   [tokens, 9]; of a clip [frames, tokens, 9]
class RegionAttentionMean final : public Observer {
 public:
  bool wants_values() const override { return true; }
  void see(std::size_t, const char* name, const std::vector<Index>& shape, const float* p) override {
    if (std::string_view(name) != "region_attention") return;
    const Index heads = shape[1], n = shape[2] * shape[3];
    mean.assign(std::size_t(shape[0] * n), 0.f);
    for (Index f = 0; f < shape[0]; ++f)
      for (Index h = 0; h < heads; ++h)
        for (Index i = 0; i < n; ++i) mean[std::size_t(f * n + i)] += p[(f * heads + h) * n + i] / float(heads);
  }
  std::vector<float> mean;
};

using OnText = std::function<void(std::string_view)>;

// A sequence that ends with its scope.
class Branch {
 public:
  Branch(AnySession& session, SequenceId parent) : session_(session), id(session.fork(parent)) {}
  ~Branch() { session_.erase(id); }
  Branch(const Branch&) = delete;
  Branch& operator=(const Branch&) = delete;

 private:
  AnySession& session_;

 public:
  const SequenceId id;
};

// A picture or a clip that has been looked at. Not to be used on two threads at a time.
class Viewing {
 public:
  // Streams the answer to on_text as it comes, and returns it. Throws Error; the viewing can be asked again.
  std::string ask(std::string_view question, const GenerateOptions& options = {}, const OnText& on_text = {},
                  std::stop_token stop = {}) {
    const Branch branch(*session_, picture_);
    append(branch, question, "");
    text::StreamDecoder words(*tokenizer_);
    std::string answer;
    const auto say = [&](const std::string& more) {
      answer += more;
      if (on_text && !more.empty()) on_text(more);
    };
    GenerateOptions o = options;
    o.ends = settings_.ends;
    generations = generate(
        *session_, std::span(&branch.id, 1), o, settings_.positions,
        [&](std::size_t, int token) { say(words.push(token)); }, stop);
    say(words.finish());
    return answer;
  }

  // The probabilities of candidate answers, or of candidate continuations of an answer that begins with `begins`.
  std::vector<LabelScore> score(std::string_view question, std::span<const std::string> labels,
                                std::string_view begins = "") {
    const Branch branch(*session_, picture_);
    append(branch, question, begins);
    std::vector<std::vector<int>> ids;
    for (const std::string& label : labels) ids.push_back(tokenizer_->encode(label, text::Bos::kNo));
    const auto last = session_->logits();
    return score_labels(*session_, branch.id, View<const float, Host, kDyn>(last.data, last.size(1)), ids);
  }

  // [tokens, 9], of a clip [frames, tokens, 9]; empty without landmarks
  const std::vector<float>& region_attention() const { return attention_; }
  std::vector<Generation> generations;  // ids of the last answer

 private:
  friend class Pipeline;
  // The question, and how the answer begins, behind the picture.
  void append(const Branch& branch, std::string_view question, std::string_view begins) {
    const auto prompt = text::question_prompt(settings_.prompt_template, question, std::span(&kind_, 1));
    auto ids = text::encode_prompt(*tokenizer_, prompt, settings_.bos);
    if (!begins.empty()) {
      const auto more = tokenizer_->encode(begins, text::Bos::kNo);
      ids.insert(ids.end(), more.begin(), more.end());
    }
    const std::vector<int> rest(std::find(ids.rbegin(), ids.rend(), text::kMediaSlot).base(), ids.end());
    session_->append(std::span(&branch.id, 1), std::span(&rest, 1));
  }

  std::shared_ptr<const AnyModel> model_;  // outlives the session
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  Settings settings_;
  text::Medium kind_ = text::Medium::kImage;
  std::unique_ptr<AnySession> session_;
  SequenceId picture_ = 0;
  std::vector<float> attention_;
};

class Pipeline {
 public:
  // services: of the sessions
  Pipeline(const ModelFolder& folder, std::shared_ptr<const AnyModel> model, Services services = {})
      : settings_(folder.settings()),
        services_(std::move(services)),
        model_(std::move(model)),
        tokenizer_(std::make_shared<text::Tokenizer>(text::load_tokenizer(folder.path()))) {}

  // Looks at a picture of the caller's. landmarks: 68 points in its pixels, or none. rows: what the session keeps room
  // for, questions and answers together; by default the model's context.
  Viewing look(const media::PixelView& picture, std::span<const faces::Point> landmarks, Index rows = 0) const {
    const TowerConfig& tower = model_->config().image;
    if (tower.layers == 0) throw Error(ErrorKind::kArgument, "the model has no tower for images");
    media::Preprocess p;
    p.side = tower.side;
    MediumInput m{text::Medium::kImage, media::preprocess_image(picture, p), {}};
    if (!landmarks.empty()) m.points = faces::normalise(landmarks, settings_.landmarks, picture.width, picture.height);
    return look(std::move(m), rows);
  }

  // Looks at a clip: the frames that the model sees, eight evenly spread ones of a video. landmarks: of each frame, or
  // none.
  Viewing look(std::span<const media::PixelView> frames, std::span<const faces::Landmarks> landmarks,
               Index rows = 0) const {
    const TowerConfig& tower = model_->config().video;
    if (tower.layers == 0) throw Error(ErrorKind::kArgument, "the model has no tower for videos");
    check_equal(tower.block.frames, frames.size(), "look: frames of a clip");
    if (!landmarks.empty()) check_equal(frames.size(), landmarks.size(), "look: landmarks of the frames of a clip");
    media::Preprocess p;
    p.side = tower.side;
    const std::size_t plane = std::size_t(3) * std::size_t(p.side) * std::size_t(p.side);
    MediumInput m{text::Medium::kVideo, std::vector<float>(frames.size() * plane), {}};
    for (std::size_t i = 0; i < frames.size(); ++i) {
      media::preprocess_video_frame(m.pixels.data() + i * plane, frames[i], p);
      if (landmarks.empty()) continue;
      const auto points = faces::normalise(landmarks[i], settings_.landmarks, frames[i].width, frames[i].height);
      m.points.insert(m.points.end(), points.begin(), points.end());
    }
    return look(std::move(m), rows);
  }

  const AnyModel& model() const { return *model_; }
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }
  const Settings& settings() const { return settings_; }

 private:
  Viewing look(MediumInput medium, Index rows) const {
    Viewing v;
    v.model_ = model_;
    v.tokenizer_ = tokenizer_;
    v.settings_ = settings_;
    v.kind_ = medium.kind;
    Request request;
    request.media.push_back(std::move(medium));
    const auto prompt = text::question_prompt(settings_.prompt_template, "", std::span(&v.kind_, 1));
    const auto ids = text::encode_prompt(*tokenizer_, prompt, settings_.bos);
    request.ids.assign(ids.begin(), std::find(ids.rbegin(), ids.rend(), text::kMediaSlot).base());
    v.session_ = model_->open(
        {.kv_rows = rows > 0 ? rows : settings_.positions, .positions = settings_.positions, .services = services_});
    RegionAttentionMean attention;
    v.picture_ = v.session_->prefill(std::span(&request, 1), 0, &attention)[0];
    v.attention_ = std::move(attention.mean);
    return v;
  }

  Settings settings_;
  Services services_;
  std::shared_ptr<const AnyModel> model_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
};

// The usual way: the model in `folder`, compiled for the configuration C, on Device.
// Its sessions get the services of the options too.
template <FaceLlavaConfig C, class Device, class Parts = DefaultParts, class Kv = float, class... DeviceOptions>
Pipeline open_pipeline(const ModelFolder& folder, const LoadOptions& options = {}, const DeviceOptions&... device) {
  using M = Model<FaceLlava<C, Parts>, Device, Kv>;
  return Pipeline(folder, std::make_shared<M>(folder, options, device...), options.services);
}

}  // namespace facellava::run
