// Sentences from patterns: "{a|b {c|d}|}" stands for one of its parts, drawn anew each time.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "random.hpp"

namespace synthetic_faces {

namespace detail {

// The end of the part of a pattern that begins at i: its | or }, those of nested braces skipped.
inline std::size_t part_end(std::string_view p, std::size_t i) {
  for (int depth = 0; i < p.size(); ++i) {
    if (p[i] == '{') ++depth;
    if ((p[i] == '}' || p[i] == '|') && depth == 0) break;
    if (p[i] == '}') --depth;
  }
  return i;
}

inline void speak(Dice& d, std::string_view p, std::string& out) {
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] != '{') {
      out += p[i];
      continue;
    }
    std::vector<std::string_view> parts;
    do {
      const std::size_t begin = i + 1;
      i = part_end(p, begin);
      parts.push_back(p.substr(begin, i - begin));
    } while (i < p.size() && p[i] == '|');
    speak(d, parts[std::size_t(d.below(int(parts.size())))], out);
  }
}

}  // namespace detail

inline std::string spoken(Dice& d, std::string_view pattern) {
  std::string out;
  detail::speak(d, pattern, out);
  return out;
}

// "a, b and c"
inline std::string joined(const std::vector<std::string>& parts, std::string_view last = " and ") {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += i + 1 < parts.size() ? std::string(", ") : std::string(last);
    out += parts[i];
  }
  return out;
}

inline std::string capital(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = char(text[0] - 'a' + 'A');
  return text;
}

template <class T>
void shuffle(Dice& d, std::vector<T>& v) {
  for (std::size_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[std::size_t(d.below(int(i)))]);
}

}  // namespace synthetic_faces
