// A data set as files, in the schema of docs/training_data.md:
//   OUT/data.json           the records: each sample's conversations, one an exchange
//   OUT/labels.jsonl        everything known about each sample, one line each, in the same order
//   OUT/images/N.png, N.npy               a picture and its 68 points [68, 2], pixels
//   OUT/clips/N.safetensors, N.npy        "frames", uint8 [8, side, side, 3], and the points of each frame [8, 68, 2]
#pragma once
#include <filesystem>
#include <functional>

#include "facellava/cpu/thread_pool.hpp"
#include "facellava/io/npy.hpp"
#include "facellava/io/safetensors_writer.hpp"
#include "facellava/media/write_png.hpp"
#include "generator.hpp"
#include "wording.hpp"

namespace synthetic_faces {

using facellava::Index;

struct DataPlan {
  std::uint64_t seed = 0;
  int pictures = 0, clips = 0;
  int questions = 6;  // about each sample
  int threads = 0;    // 0: one a core
};

// Everything known about a sample; AU intensities from 0 to 1, angles in degrees, points in pixels.
inline nlohmann::json described(const Labels& l) {
  constexpr float kDegrees = 57.29578f;
  const auto rounded = [](float x) { return std::round(double(x) * 1000) / 1000; };
  auto aus = nlohmann::json::object(), attributes = nlohmann::json::array(), covered = nlohmann::json::array();
  for (int a = 0; a < kAus; ++a) {
    const Intensity& i = l.expression[Au(a)];
    if (i.most() >= kSeen)
      aus[code_of(Au(a))] = {{"left", rounded(i.left)}, {"right", rounded(i.right)}, {"seen", l.can_show(Au(a))}};
  }
  for (std::size_t a = 0; a < kAttributes; ++a)
    if (l.attributes[a]) attributes.push_back(kAttributeNames[a]);
  for (std::size_t r = 0; r < l.covered.size(); ++r)
    if (l.covered[r]) covered.push_back(facellava::kRegions[r].name);
  constexpr std::array kFakes = {"real", "swap", "blend"};
  auto points = nlohmann::json::array();
  for (const Points& frame : l.points)
    for (const Vec2 p : frame) points.insert(points.end(), {rounded(p.x), rounded(p.y)});
  nlohmann::json j = {{"emotion", nullptr},
                      {"au", aus},
                      {"age", rounded(l.who.age)},
                      {"attributes", attributes},
                      {"covered", covered},
                      {"fake", kFakes[std::size_t(l.forgery.kind)]},
                      {"yaw", rounded(l.pose.yaw * kDegrees)},
                      {"pitch", rounded(l.pose.pitch * kDegrees)},
                      {"roll", rounded(l.pose.roll * kDegrees)},
                      {"points", points}};
  if (l.expression.emotion) j["emotion"] = kEmotionNames[std::size_t(*l.expression.emotion)];
  if (l.points.size() > 1) {
    j["apex"] = l.motion.apex;
    j["strength"] = nlohmann::json::array();
    for (const float s : l.motion.strength) j["strength"].push_back(rounded(s));
  }
  return j;
}

namespace detail {

// Files of a sample, and its record.
inline nlohmann::json write_sample(const Sample& s, const std::string& folder, const std::string& name,
                                   const std::vector<Exchange>& exchanges) {
  namespace io = facellava::io;
  std::vector<float> points;
  for (const Points& frame : s.labels.points)
    for (const Vec2 p : frame) points.insert(points.end(), {p.x, p.y});
  const bool clip = s.frames.size() > 1;
  const std::string medium = name + (clip ? ".safetensors" : ".png");
  if (clip) {
    std::vector<std::byte> bytes;
    for (const auto& frame : s.frames) {
      const auto* at = reinterpret_cast<const std::byte*>(frame.row(0));
      bytes.insert(bytes.end(), at, at + frame.height() * frame.stride());
    }
    const io::NamedTensor tensors[] = {
        {"frames", io::DType::kU8, {Index(s.frames.size()), s.labels.side, s.labels.side, 3}, bytes}};
    io::write_safetensors(folder + "/" + medium, tensors);
    io::write_npy(folder + "/" + name + ".npy", {Index(s.frames.size()), kPoints, 2}, points);
  } else {
    facellava::media::write_png(folder + "/" + medium, s.frames[0]);
    io::write_npy(folder + "/" + name + ".npy", {kPoints, 2}, points);
  }
  auto conversations = nlohmann::json::array();
  for (const Exchange& x : exchanges)
    conversations.push_back({{{"from", "human"}, {"value", (clip ? "<video>\n" : "<image>\n") + x.question}},
                             {{"from", "gpt"}, {"value", x.answer}}});
  return {{"id", name},
          {clip ? "video" : "image", clip ? medium + ":frames" : medium},
          {"landmarks_2d", name + ".npy"},
          {"conversations", conversations}};
}

inline void write_text(const std::string& path, const std::string& text) {
  facellava::io::write_file_atomically(path, std::as_bytes(std::span(text)));
}

}  // namespace detail

// The same files for any number of threads. done: called with each sample, by one thread at a time, in no fixed order.
// Errors: kFile, kArgument (no samples, or fewer than none).
inline void write_data(const Generator& faces, const DataPlan& plan, const std::string& out,
                       const std::function<void(int index, const Sample&)>& done = {}) {
  if (plan.pictures < 0 || plan.clips < 0 || plan.pictures + plan.clips < 1)
    throw Error(ErrorKind::kArgument, "expected at least one picture or clip");
  for (const char* kind : {"/images", "/clips"}) std::filesystem::create_directories(out + kind);
  const int all = plan.pictures + plan.clips;
  std::vector<nlohmann::json> records;
  std::vector<std::string> labels;
  records.resize(std::size_t(all));
  labels.resize(std::size_t(all));
  std::mutex reporting;
  facellava::cpu::ThreadPool pool(plan.threads);
  pool.run(all, [&](Index index, int) {
    const bool clip = index >= plan.pictures;
    const auto i = std::uint64_t(clip ? index - plan.pictures : index);
    const Sample s = clip ? faces.clip(plan.seed, i) : faces.face(plan.seed, i);
    const auto exchanges = ask_about(s.labels, plan.questions, Dice(plan.seed, i, Stream::kWording, clip));
    const std::string name = std::string(clip ? "clips/" : "images/") + std::to_string(i);
    records[std::size_t(index)] = detail::write_sample(s, out, name, exchanges);
    nlohmann::json line = described(s.labels);
    line["id"] = name;
    labels[std::size_t(index)] = line.dump() + "\n";
    const std::lock_guard lock(reporting);
    if (done) done(int(index), s);
  });
  std::string text, lines;
  for (int i = 0; i < all; ++i) {
    text += (i ? ",\n" : "[\n") + records[std::size_t(i)].dump();
    lines += labels[std::size_t(i)];
  }
  detail::write_text(out + "/data.json", text + "\n]\n");
  detail::write_text(out + "/labels.jsonl", lines);
}

}  // namespace synthetic_faces
