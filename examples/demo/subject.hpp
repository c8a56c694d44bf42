// What the model is asked about: a picture or a clip, the faces in it, and how each is cut out for the model.
#pragma once
#include <string>
#include <vector>

#include "../facellava/people.hpp"
#include "facellava/cpu/device.hpp"
#include "facellava/faces/face_finder.hpp"
#include "stages.hpp"

namespace demo {

inline constexpr std::size_t kMostPeople = 3;  // that are asked about

// One that is asked about.
struct Person {
  std::vector<facellava::media::Image> crops;       // one, or one of each frame of a clip
  std::vector<facellava::faces::Landmarks> points;  // in pixels of the crops
};

struct Sighting {
  facellava::faces::Face face;
  std::size_t person = 0;  // its number, from 0
};

struct Subject {
  std::string name, origin;                      // name: of the picture that is written
  std::vector<facellava::media::Image> frames;   // one, or those of a clip that the model sees
  std::vector<std::vector<Sighting>> sightings;  // of each frame
  std::size_t found = 0;                         // people
  std::vector<Person> people;                    // kMostPeople of them, the largest first

  bool clip() const { return frames.size() > 1; }
};

class FaceSeeker {
 public:
  // nets: folder. Errors: as FaceFinder.
  FaceSeeker(const std::string& nets, facellava::faces::CropKind crop, int threads, Stages& stages)
      : dev_({.threads = threads}), finder_(nets), crop_(crop), stages_(stages) {}

  Subject in_picture(std::string name, std::string origin, facellava::media::Image picture);
  // count: frames that the model sees, evenly spread.
  Subject in_clip(std::string name, std::string origin, const tool::FrameSource&, int count);

 private:
  std::vector<facellava::faces::Face> find(const facellava::media::PixelView&);

  facellava::cpu::Device dev_;
  facellava::faces::FaceFinder finder_;
  facellava::faces::CropKind crop_;
  Stages& stages_;
};

}  // namespace demo
