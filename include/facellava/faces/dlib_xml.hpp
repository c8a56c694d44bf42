// Data sets of dlib's imglab: <image file> elements with <box> elements of <part> elements, the points.
// The reader is our own: the format needs tags and attributes alone, the well-kept XML parsers are libraries to link,
// and this one has neither entities of a file's own, nor recursion, nor anything that grows beyond the file.
// Source: dlib's image_dataset_metadata and the files beside its examples.
#pragma once
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "facellava/faces/box.hpp"
#include "facellava/faces/landmark_layout.hpp"
#include "facellava/io/mapped_file.hpp"

namespace facellava::faces {

struct LabelledFace {
  Box box;
  std::optional<Landmarks> landmarks;  // nothing: a box without parts
};
struct LabelledImage {
  std::string file;  // as the data set names it, mostly relative to its own folder
  std::vector<LabelledFace> faces;
};

namespace detail {

// The tags of an XML text, one after another. Refused: declarations (<!DOCTYPE, <![CDATA[), entities other than XML's
// own five, tags that do not nest.
class XmlTags {
 public:
  XmlTags(std::string_view text, const std::string& path) : text_(text), path_(path) {}

  // Steps to the next tag; false at the end. An element that is closed at once (<a/>) is a tag to open and one to
  // close.
  bool next() {
    if (std::exchange(closes_, false)) return close(names_.back());
    while (skip_text()) {
      if (take("<?")) {
        skip_behind("?>");
      } else if (take("<!--")) {
        skip_behind("-->");
      } else if (take("</")) {
        const auto name = word();
        skip_space();
        expect(">");
        return close(name);
      } else {
        expect("<");
        return open();
      }
    }
    if (!names_.empty()) fail("expected </" + std::string(names_.back()) + ">, found the end of the file");
    return false;
  }
  bool opens() const { return opens_; }
  std::string_view name() const { return name_; }
  // Of the element around this one; empty: none.
  std::string_view parent() const {
    const std::size_t above = opens_ ? 2 : 1;
    return names_.size() < above ? std::string_view() : names_[names_.size() - above];
  }

  std::string text(std::string_view attribute) const {
    std::string_view rest = value(attribute);
    std::string out;
    while (!rest.empty()) {
      if (rest[0] != '&') {
        out += rest[0];
        rest.remove_prefix(1);
        continue;
      }
      constexpr std::pair<std::string_view, char> kEntities[] = {
          {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
      const std::size_t before = out.size();
      for (const auto& [entity, character] : kEntities)
        if (out.size() == before && rest.starts_with(entity)) {
          out += character;
          rest.remove_prefix(entity.size());
        }
      if (out.size() == before) fail("an entity that is none of XML's own: " + shortened(rest));
    }
    return out;
  }
  float number(std::string_view attribute) const {
    const std::string_view text = value(attribute);
    float number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number))
      fail("expected a number as " + std::string(attribute) + " of <" + std::string(name_) + ">, found " +
           shortened(text));
    return number;
  }
  [[noreturn]] void fail(const std::string& what) const { throw Error(ErrorKind::kFormat, where() + ": " + what); }
  std::string where() const { return path_ + ", line " + std::to_string(line_); }

 private:
  static constexpr std::size_t kMaxDepth = 16, kMaxAttributes = 32;

  static std::string shortened(std::string_view text) { return "\"" + std::string(text.substr(0, 40)) + "\""; }
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

  std::string_view value(std::string_view attribute) const {
    for (const auto& [name, text] : attributes_)
      if (name == attribute) return text;
    fail("<" + std::string(name_) + "> lacks the attribute " + std::string(attribute));
  }
  void step(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) line_ += text_[at_ + i] == '\n';
    at_ += n;
  }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    step(word.size());
    return true;
  }
  void expect(std::string_view word) {
    if (!take(word)) fail("expected \"" + std::string(word) + "\", found " + shortened(text_.substr(at_)));
  }
  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) step(1);
  }
  // To the next tag; false where there is none. Text says nothing here, and outside every element there must be none.
  bool skip_text() {
    while (at_ < text_.size() && text_[at_] != '<') {
      if (names_.empty() && !is_space(text_[at_])) fail("expected a tag, found " + shortened(text_.substr(at_)));
      step(1);
    }
    return at_ < text_.size();
  }
  void skip_behind(std::string_view word) {
    const auto found = text_.find(word, at_);
    if (found == text_.npos) fail("expected \"" + std::string(word) + "\" before the end of the file");
    step(found + word.size() - at_);
  }
  std::string_view word() {
    const std::size_t first = at_;
    while (at_ < text_.size() && !is_space(text_[at_]) &&
           std::string_view("<>/='\"!?&").find(text_[at_]) == std::string_view::npos)
      ++at_;
    if (at_ == first) fail("expected a name, found " + shortened(text_.substr(at_)));
    return text_.substr(first, at_ - first);
  }
  bool open() {
    name_ = word();
    attributes_.clear();
    for (skip_space(); !take(">"); skip_space()) {
      if ((closes_ = take("/>"))) break;
      const auto key = word();
      skip_space();
      expect("=");
      skip_space();
      const std::string quote(1, take("\"") ? '"' : '\'');
      if (quote == "'") expect("'");
      const std::size_t first = at_;
      skip_behind(quote);
      const auto text = text_.substr(first, at_ - 1 - first);
      for (const auto& [known, unused] : attributes_)
        if (known == key) fail("<" + std::string(name_) + "> has the attribute " + std::string(key) + " twice");
      if (attributes_.size() == kMaxAttributes) fail("<" + std::string(name_) + "> has too many attributes");
      attributes_.emplace_back(key, text);
    }
    if (names_.size() == kMaxDepth) fail("elements are nested more than " + std::to_string(kMaxDepth) + " deep");
    names_.push_back(name_);
    return opens_ = true;
  }
  bool close(std::string_view name) {
    if (names_.empty() || names_.back() != name)
      fail("</" + std::string(name) + "> closes " +
           (names_.empty() ? "nothing" : "<" + std::string(names_.back()) + ">"));
    names_.pop_back();
    name_ = name;
    opens_ = false;
    return true;
  }

  std::string_view text_;
  const std::string& path_;
  std::size_t at_ = 0, line_ = 1;
  std::vector<std::string_view> names_;  // of the open elements
  std::string_view name_;
  std::vector<std::pair<std::string_view, std::string_view>> attributes_;
  bool opens_ = false, closes_ = false;
};

// The landmarks of a box's parts, which are named by their numbers and come in any order.
inline std::optional<Landmarks> landmarks_of_parts(const std::vector<std::pair<std::string, Point>>& parts,
                                                   const std::string& where) {
  if (parts.empty()) return std::nullopt;
  const std::size_t n = parts.size();
  if (n != kPoints && !is_mesh(n)) wrong_count(where, n);
  std::vector<float> numbers(2 * n);
  std::vector<bool> seen(n);
  for (const auto& [name, point] : parts) {
    std::size_t i = n;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), i);
    if (error != std::errc() || end != name.data() + name.size() || i >= n || seen[i])
      throw Error(ErrorKind::kFormat, where + ": expected parts named from 0 to " + std::to_string(n - 1) +
                                          ", each once, found \"" + name.substr(0, 40) + "\"");
    seen[i] = true;
    numbers[2 * i] = point.x;
    numbers[2 * i + 1] = point.y;
  }
  return frame_of(numbers, where);
}

inline std::vector<LabelledImage> dlib_images(std::string_view text, const std::string& path) {
  constexpr std::size_t kMost = std::size_t(1) << 17;
  XmlTags tags(text, path);
  std::vector<LabelledImage> images;
  std::vector<std::pair<std::string, Point>> parts;
  std::size_t boxes = 0;
  const auto inside = [&](std::string_view parent) {
    if (tags.parent() != parent)
      tags.fail("expected <" + std::string(tags.name()) + "> inside <" + std::string(parent) + ">, found it " +
                (tags.parent().empty() ? "at the top" : "inside <" + std::string(tags.parent()) + ">"));
  };
  bool dataset = false;
  while (tags.next()) {
    const auto name = tags.name();
    if (!tags.opens()) {
      if (name == "box") images.back().faces.back().landmarks = landmarks_of_parts(parts, tags.where());
    } else if (name == "dataset") {
      inside("");
      dataset = true;
    } else if (name == "image") {
      inside("images");
      check_at_most(kMost, images.size() + 1, path + ": pictures");
      images.push_back({tags.text("file"), {}});
    } else if (name == "box") {
      inside("image");
      check_at_most(kMost, ++boxes, path + ": boxes");
      images.back().faces.push_back(
          {{tags.number("left"), tags.number("top"), tags.number("width"), tags.number("height")}, {}});
      parts.clear();
    } else if (name == "part") {
      inside("box");
      parts.push_back({tags.text("name"), {tags.number("x"), tags.number("y")}});
    }
  }
  if (!dataset) throw Error(ErrorKind::kFormat, path + ": expected the element <dataset> of dlib's imglab, found none");
  return images;
}

}  // namespace detail

// The pictures of a dlib data set, with the boxes and the 68 landmarks of each. Errors: kFile, kFormat (no XML of that
// kind, with the line), kShape (another number of parts), kCapacity (more than 64 MiB, or than 2^17 pictures or boxes).
inline std::vector<LabelledImage> read_dlib_xml(const std::string& path) {
  constexpr std::size_t kMaxBytes = std::size_t(64) << 20;
  const io::MappedFile file(path, io::Load::kCopy, kMaxBytes);
  return detail::dlib_images({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path);
}

}  // namespace facellava::faces
