// The memory that work takes, before it is done. The numbers of a session come from its own carve functions, run on an
// arena that only counts (session_memory.hpp).
#pragma once
#include <algorithm>
#include <array>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "facellava/core/format.hpp"
#include "facellava/core/services.hpp"
#include "facellava/run/request.hpp"

namespace facellava::run {

// A request by its sizes.
struct RequestShape {
  Index text = 0;  // tokens of text
  Index images = 0, videos = 0;
};

enum class LogitRows { kLast, kAll };  // kAll: an observer wants the logits of every row

// What a session is to do at one time.
struct Workload {
  std::vector<RequestShape> requests = {};  // prefilled together, or so many tokens appended to as many sequences
  Index reserve = 0;                        // tokens that each goes on for
  LogitRows logits = LogitRows::kLast;
  std::vector<Index> scored = {};  // tokens of the continuations of one call of log_probs
  Index context = 0;               // tokens that the sequences have already, at most
};

inline RequestShape shape_of(const Request& r) {
  RequestShape s;
  for (int id : r.ids) s.text += id != text::kMediaSlot;
  for (const MediumInput& m : r.media) ++(m.kind == text::Medium::kImage ? s.images : s.videos);
  return s;
}
inline Workload workload_of(std::span<const Request> requests, Index reserve) {
  Workload w{.reserve = reserve};
  for (const Request& r : requests) w.requests.push_back(shape_of(r));
  return w;
}

// Parts of a model that are read together or not at all.
enum class Part { kDecoder, kProjector, kLandmarks, kImageTower, kVideoTower };
constexpr const char* part_name(Part p) {
  constexpr const char* kNames[] = {"decoder", "projector", "landmark modules", "image tower", "video tower"};
  return kNames[int(p)];
}
constexpr Part part_of(std::string_view leaf) {
  if (leaf.starts_with("image_tower.")) return Part::kImageTower;
  if (leaf.starts_with("video_tower.")) return Part::kVideoTower;
  if (leaf.starts_with("mm_projector.")) return Part::kProjector;
  if (leaf.starts_with("llama.")) return Part::kDecoder;
  return Part::kLandmarks;
}

enum class Held { kMapped, kConverted };  // read where the file lies, or owned after a conversion at load
struct WeightBytes {
  Part part;
  Format format;
  Held held;
  std::size_t bytes;
};

struct MemoryLine {
  std::string what;
  std::size_t bytes;
};

struct MemoryPlan {
  std::vector<WeightBytes> weights;  // that are read, or owned whether read or not
  std::vector<WeightBytes> idle;     // mapped parts that this work does not touch: no memory
  // The session.
  std::size_t keys_and_values = 0, rotary_table = 0, visual_tokens = 0, logits = 0, scratch = 0;
  // One workspace, as large as the largest of these needs.
  std::size_t image_tower = 0, video_tower = 0, decoder = 0;

  std::size_t workspace() const { return std::max({image_tower, video_tower, decoder}); }
  // Bytes that the session asks its Services for; scratch belongs to the device.
  std::size_t session_bytes() const { return keys_and_values + rotary_table + visual_tokens + workspace() + logits; }
  std::size_t weight_bytes() const {
    std::size_t n = 0;
    for (const WeightBytes& w : weights) n += w.bytes;
    return n;
  }
  std::size_t total() const { return weight_bytes() + session_bytes() + scratch; }

  // What adds up to total().
  std::vector<MemoryLine> lines() const {
    std::vector<MemoryLine> out;
    for (const WeightBytes& w : weights) out.push_back({"weights, " + describe(w), w.bytes});
    const std::size_t most = workspace();
    const char* largest = most == decoder ? "decoder" : most == image_tower ? "image tower" : "video tower";
    for (const MemoryLine& l : {MemoryLine{"keys and values", keys_and_values},
                                {"rotary table", rotary_table},
                                {"visual tokens", visual_tokens},
                                {"workspace, largest in the " + std::string(largest), most},
                                {"logits", logits},
                                {"scratch of the device", scratch}})
      if (l.bytes > 0) out.push_back(l);
    return out;
  }

  // One line each, then the total and what is not in it.
  std::string text() const {
    std::string out;
    for (const MemoryLine& l : lines()) add(out, l.what, l.bytes);
    add(out, "total", total());
    for (const WeightBytes& w : idle) add(out, "not read: " + describe(w), w.bytes);
    return out;
  }

  static std::string describe(const WeightBytes& w) {
    return std::string(part_name(w.part)) + ", " + format_name(w.format) +
           (w.held == Held::kMapped ? ", mapped" : ", converted at load");
  }

 private:
  static void add(std::string& out, std::string what, std::size_t bytes) {
    what.resize(std::max<std::size_t>(what.size(), 54), ' ');
    std::array<char, 32> number{};
    std::snprintf(number.data(), number.size(), "%12.2f MiB\n", double(bytes) / (1 << 20));
    out.append("  ").append(what).append(number.data());
  }
};

// Throws kCapacity with the plan's lines if it needs more than the limit.
inline void check_fits(const MemoryPlan& plan, std::size_t limit, std::string_view what) {
  if (plan.total() > limit)
    throw Error(ErrorKind::kCapacity, std::string(what) + ": expected to need at most " + std::to_string(limit) +
                                          " bytes, but the plan needs " + std::to_string(plan.total()) + ":\n" +
                                          plan.text());
}

// Gives a plan the weights, sorted into those that the work reads and those that it does not.
inline void add_weights(MemoryPlan& plan, std::span<const WeightBytes> all, const Workload& work) {
  const auto any = [&](Index RequestShape::*media) {
    return std::any_of(work.requests.begin(), work.requests.end(), [&](const auto& r) { return r.*media > 0; });
  };
  const bool images = any(&RequestShape::images), videos = any(&RequestShape::videos);
  for (const WeightBytes& w : all) {
    const bool read = w.part == Part::kDecoder || (w.part == Part::kImageTower   ? images
                                                   : w.part == Part::kVideoTower ? videos
                                                                                 : images || videos);
    (read || w.held == Held::kConverted ? plan.weights : plan.idle).push_back(w);
  }
}

}  // namespace facellava::run
