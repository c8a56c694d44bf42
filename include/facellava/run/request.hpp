// What a session is asked: token ids with a slot for each picture or frame, and the preprocessed media that fill them.
#pragma once
#include <string>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/core/regions.hpp"
#include "facellava/core/view.hpp"
#include "facellava/text/media_tokens.hpp"

namespace facellava::run {

struct MediumInput {
  text::Medium kind = text::Medium::kImage;
  std::vector<float> pixels;  // [frames, 3, side, side], normalised; an image is one frame
  std::vector<float> points;  // [frames, 136], x and y interleaved, 0..1; empty: no landmarks
};

struct Request {
  std::vector<int> ids;  // text::kMediaSlot: one image or one frame of a video, in order
  std::vector<MediumInput> media;
};

// Is told of intermediate results, to dump them, and of stages that are done, to time them.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual bool wants_values() const { return false; }
  virtual bool wants_logits() const { return false; }  // of every prompt row, not only the last
  // shape: of what values hold, row-major. Rows of one name come in the order of the request's rows.
  virtual void see(std::size_t /*request*/, const char* /*name*/, const std::vector<Index>& /*shape*/,
                   const float* /*values*/) {}
  virtual void done(const char* /*stage*/) {}  // "vision", "prefill"
};

// What may not be asked of any model. Errors name the request.
inline void check_media(const Request& r, std::size_t number, int frames_of_video) {
  const std::string who = "request " + std::to_string(number);
  Index slots = 0, frames = 0;
  for (int id : r.ids) slots += id == text::kMediaSlot;
  std::size_t with_points = 0;
  for (const MediumInput& m : r.media) {
    const Index f = m.kind == text::Medium::kImage ? 1 : frames_of_video;
    frames += f;
    with_points += !m.points.empty();
    if (!m.points.empty())
      check_equal(f * 2 * kPoints, Index(m.points.size()), who + ": landmark numbers of a picture or video",
                  ErrorKind::kArgument);
  }
  if (slots != frames)
    throw Error(ErrorKind::kArgument, who + ": the prompt has " + std::to_string(slots) +
                                          " places for pictures, its media have " + std::to_string(frames) +
                                          " pictures or frames");
  if (with_points != 0 && with_points != r.media.size())
    throw Error(ErrorKind::kArgument, who + ": landmarks for " + std::to_string(with_points) + " of its " +
                                          std::to_string(r.media.size()) + " media; give them for all or for none");
  if (r.ids.empty()) throw Error(ErrorKind::kArgument, who + ": the prompt is empty");
}

}  // namespace facellava::run
