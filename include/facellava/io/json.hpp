// JSON from files that nobody vouches for: bounded in size and depth, duplicate keys refused, and members read with
// errors that name the file, the key, the expected and the found type. Parsing is by nlohmann/json.
#pragma once
#include <nlohmann/json.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "facellava/io/mapped_file.hpp"

namespace facellava::io {

inline constexpr int kMaxJsonDepth = 64;
inline constexpr std::size_t kMaxJsonBytes = std::size_t(64) << 20;

// Parses text; `file` is what errors name. Errors: kFormat (not JSON, too deep, a key given twice).
inline nlohmann::json parse_json(std::string_view text, const std::string& file) {
  using Json = nlohmann::json;
  std::vector<std::unordered_set<std::string>> keys;  // of the open objects and arrays
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      if (depth >= kMaxJsonDepth)
        throw Error(ErrorKind::kFormat,
                    file + ": JSON is nested more than " + std::to_string(kMaxJsonDepth) + " levels deep");
      keys.emplace_back();
    } else if (event == Event::object_end || event == Event::array_end) {
      keys.pop_back();
    } else if (event == Event::key && !keys.back().insert(parsed.get_ref<const std::string&>()).second) {
      throw Error(ErrorKind::kFormat,
                  file + ": JSON has the key \"" + parsed.get_ref<const std::string&>() + "\" twice in one object");
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const Json::exception& e) {
    throw Error(ErrorKind::kFormat, file + ": not valid JSON: " + e.what());
  }
}

// Errors: as MappedFile and parse_json.
inline nlohmann::json read_json(const std::string& path, std::size_t max_bytes = kMaxJsonBytes) {
  const MappedFile file(path, Load::kCopy, max_bytes);
  return parse_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path);
}

namespace detail {

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};

template <class T>
std::string json_type_name() {
  if constexpr (std::same_as<T, bool>) return "a boolean";
  if constexpr (std::integral<T> && !std::same_as<T, bool>)
    return "an integer from " + std::to_string(std::numeric_limits<T>::min()) + " to " +
           std::to_string(std::numeric_limits<T>::max());
  if constexpr (std::floating_point<T>) return "a number";
  if constexpr (std::same_as<T, std::string>) return "a string";
  if constexpr (IsVector<T>::value) return "an array, of which each is " + json_type_name<typename T::value_type>();
  return "a value";
}

template <class T>
bool json_fits(const nlohmann::json& value) {
  if constexpr (std::same_as<T, nlohmann::json>) {
    return true;
  } else if constexpr (std::same_as<T, bool>) {
    return value.is_boolean();
  } else if constexpr (std::integral<T>) {
    return value.is_number_unsigned() ? std::in_range<T>(value.get<std::uint64_t>())
                                      : value.is_number_integer() && std::in_range<T>(value.get<std::int64_t>());
  } else if constexpr (std::floating_point<T>) {
    return value.is_number() && std::abs(value.get<double>()) <= double(std::numeric_limits<T>::max());
  } else if constexpr (std::same_as<T, std::string>) {
    return value.is_string();
  } else {
    static_assert(IsVector<T>::value, "read a bool, a number, a string, json, or a vector of these");
    if (!value.is_array()) return false;
    for (const auto& element : value)
      if (!json_fits<typename T::value_type>(element)) return false;
    return true;
  }
}

}  // namespace detail

// The member `key`, or nothing where it is absent or null. Errors: kFormat (not an object, another type, out of range).
template <class T>
std::optional<T> optional(const nlohmann::json& object, const std::string& key, const std::string& file) {
  if (!object.is_object())
    throw Error(ErrorKind::kFormat,
                file + ": expected an object with the key \"" + key + "\", found " + object.type_name());
  const auto member = object.find(key);
  if (member == object.end() || member->is_null()) return std::nullopt;
  if (!detail::json_fits<T>(*member)) {
    const bool scalar = member->is_number() || member->is_boolean();
    throw Error(ErrorKind::kFormat, file + ": \"" + key + "\": expected " + detail::json_type_name<T>() + ", found " +
                                        (scalar ? member->dump() : std::string(member->type_name())));
  }
  return member->get<T>();
}

// The member `key`. Errors: kFormat, as optional, and where the key is absent or null.
template <class T>
T require(const nlohmann::json& object, const std::string& key, const std::string& file) {
  auto value = optional<T>(object, key, file);
  if (!value)
    throw Error(ErrorKind::kFormat,
                file + ": the key \"" + key + "\" is missing: expected " + detail::json_type_name<T>());
  return std::move(*value);
}

}  // namespace facellava::io
