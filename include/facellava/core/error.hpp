// Errors. Everything that can be wrong at run time (files, shapes known at run time, arguments, device status) is
// checked always and throws facellava::Error, which leaves every object usable. Shapes known at compile time fail
// there.
#pragma once
#include <concepts>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace facellava {

enum class ErrorKind {
  kArgument,   // a call that makes no sense: missing landmarks, an unknown name, a session misused
  kShape,      // sizes that do not fit together
  kFile,       // a file that cannot be opened, read or written
  kFormat,     // a file whose contents break its format: truncated, corrupt, hostile
  kCapacity,   // more rows, tokens or bytes than were planned for
  kNonFinite,  // NaN or infinity where a number was needed
  kDevice,     // a missing instruction set, an accelerator's status
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& what, std::source_location at = std::source_location::current())
      : std::runtime_error(what), kind_(kind), at_(at) {}
  ErrorKind kind() const { return kind_; }
  const std::source_location& where() const { return at_; }

 private:
  ErrorKind kind_;
  std::source_location at_;
};

// Throws "what: expected E, found F" unless the two numbers are equal.
constexpr void check_equal(std::integral auto expected, std::integral auto found, std::string_view what,
                           ErrorKind kind = ErrorKind::kShape,
                           std::source_location at = std::source_location::current()) {
  if (!std::cmp_equal(expected, found))
    throw Error(kind, std::string(what) + ": expected " + std::to_string(expected) + ", found " + std::to_string(found),
                at);
}

// Throws "what: expected at most E, found F" if found is larger.
constexpr void check_at_most(std::integral auto limit, std::integral auto found, std::string_view what,
                             ErrorKind kind = ErrorKind::kCapacity,
                             std::source_location at = std::source_location::current()) {
  if (std::cmp_greater(found, limit))
    throw Error(kind,
                std::string(what) + ": expected at most " + std::to_string(limit) + ", found " + std::to_string(found),
                at);
}

// Throws unless 0 <= index < size.
constexpr void check_index(std::integral auto index, std::integral auto size, std::string_view what,
                           std::source_location at = std::source_location::current()) {
  if (std::cmp_less(index, 0) || std::cmp_greater_equal(index, size))
    throw Error(
        ErrorKind::kShape,
        std::string(what) + ": expected an index below " + std::to_string(size) + ", found " + std::to_string(index),
        at);
}

}  // namespace facellava
