// Reads the pickle inside a PyTorch checkpoint: a dictionary from names to tensors. A small machine over a closed list
// of opcodes and of globals. It never calls anything: REDUCE knows OrderedDict, _rebuild_tensor_v2 and
// _rebuild_parameter, and everything else is an error that names it. Containers are kept by number, so that neither
// reading nor destroying a deeply nested pickle recurses; all sizes are bounded. Source: CPython Lib/pickletools.py,
// PyTorch torch/_utils.py.
#pragma once
#include <cstdint>
#include <cstring>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "facellava/core/error.hpp"
#include "facellava/io/tensor_entry.hpp"

namespace facellava::io {

// A tensor as the pickle describes it: a strided window into a storage, counted in elements. Views point into the
// pickle.
struct PickledTensor {
  std::string_view name, storage;
  DType dtype = DType::kF32;
  Index storage_count = 0, offset = 0;
  std::vector<Index> shape, strides;
};

namespace detail {

inline constexpr std::size_t kMaxPickleBytes = std::size_t(64) << 20, kMaxPickleText = 65536,
                             kMaxPickleOperations = 1 << 23, kMaxPickleMemo = 1 << 22, kMaxTensorRank = 32;

enum class Op : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kEmptyList = ']',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyTuple = ')',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
};

// The name of an opcode that is refused, for the error.
inline const char* refused_opcode_name(std::uint8_t op) {
  switch (op) {
    case '0': return "POP";
    case '1': return "POP_MARK";
    case '2': return "DUP";
    case 'F': return "FLOAT";
    case 'I': return "INT";
    case 'L': return "LONG";
    case 'P': return "PERSID";
    case 'S': return "STRING";
    case 'T': return "BINSTRING";
    case 'U': return "SHORT_BINSTRING";
    case 'V': return "UNICODE";
    case 'd': return "DICT";
    case 'g': return "GET";
    case 'i': return "INST";
    case 'l': return "LIST";
    case 'o': return "OBJ";
    case 'p': return "PUT";
    case 0x81: return "NEWOBJ";
    case 0x82: return "EXT1";
    case 0x83: return "EXT2";
    case 0x84: return "EXT4";
    case 0x8b: return "LONG4";
    case 0x8c: return "SHORT_BINUNICODE";
    case 0x92: return "NEWOBJ_EX";
    case 0x93: return "STACK_GLOBAL";
    case 0x94: return "MEMOIZE";
    case 0x95: return "FRAME";
    default: return "unknown";
  }
}

enum class Global { kOrderedDict, kRebuildTensor, kRebuildParameter, kStorage };

struct KnownGlobal {
  std::string_view module, name;
  Global global;
  DType dtype = DType::kF32;  // of a storage
};
inline constexpr KnownGlobal kKnownGlobals[] = {
    {"collections", "OrderedDict", Global::kOrderedDict},
    {"torch._utils", "_rebuild_tensor_v2", Global::kRebuildTensor},
    {"torch._utils", "_rebuild_parameter", Global::kRebuildParameter},
    {"torch", "DoubleStorage", Global::kStorage, DType::kF64},
    {"torch", "FloatStorage", Global::kStorage, DType::kF32},
    {"torch", "HalfStorage", Global::kStorage, DType::kF16},
    {"torch", "BFloat16Storage", Global::kStorage, DType::kBf16},
    {"torch", "LongStorage", Global::kStorage, DType::kI64},
    {"torch", "IntStorage", Global::kStorage, DType::kI32},
    {"torch", "ShortStorage", Global::kStorage, DType::kI16},
    {"torch", "CharStorage", Global::kStorage, DType::kI8},
    {"torch", "ByteStorage", Global::kStorage, DType::kU8},
    {"torch", "BoolStorage", Global::kStorage, DType::kBool},
};

class PickleMachine {
 public:
  PickleMachine(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {
    check_at_most(kMaxPickleBytes, bytes.size(), file + ": bytes of the pickle");
  }

  std::vector<PickledTensor> run() {
    if (Op(get<std::uint8_t>()) != Op::kProto || get<std::uint8_t>() != 2) fail("expected a pickle of protocol 2");
    for (std::size_t operations = 0;; ++operations) {
      check_at_most(kMaxPickleOperations, operations, file_ + ": operations of the pickle");
      op_at_ = at_;
      const auto op = get<std::uint8_t>();
      if (Op(op) == Op::kStop) return result();
      execute(op);
    }
  }

 private:
  enum class Kind { kNone, kBool, kInt, kFloat, kText, kTuple, kList, kDict, kGlobal, kStorage, kTensor };
  struct Value {
    Kind kind = Kind::kNone;
    std::int64_t number = 0;  // the integer, or which container, known global, storage or tensor
    std::string_view text;
  };
  struct Storage {
    DType dtype;
    std::string_view key;
    Index count;
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kFormat, file_ + ": pickle, byte " + std::to_string(op_at_) + ": " + what);
  }
  [[noreturn]] void refuse(std::uint8_t op) const {
    constexpr char kHex[] = "0123456789abcdef";
    fail(std::string("the opcode 0x") + kHex[op >> 4] + kHex[op & 15] + " (" + refused_opcode_name(op) +
         ") is not allowed");
  }

  std::span<const std::byte> take(std::size_t n) {
    if (n > bytes_.size() - at_) fail("the pickle ends too early");
    at_ += n;
    return bytes_.subspan(at_ - n, n);
  }
  template <class T>
  T get() {
    T x;
    std::memcpy(&x, take(sizeof x).data(), sizeof x);
    return x;
  }
  std::string_view take_text(std::size_t n) {
    check_at_most(kMaxPickleText, n, file_ + ": bytes of a text in the pickle", ErrorKind::kFormat);
    return {reinterpret_cast<const char*>(take(n).data()), n};
  }
  std::string_view take_line() {
    const std::size_t first = at_;
    while (get<char>() != '\n')
      if (at_ - first > kMaxPickleText) fail("a line is too long");
    return {reinterpret_cast<const char*>(bytes_.data()) + first, at_ - first - 1};
  }
  std::int64_t take_long() {
    const std::size_t n = get<std::uint8_t>();
    if (n > 8) fail("an integer of " + std::to_string(n) + " bytes is too large");
    const auto digits = take(n);
    std::uint64_t x = n > 0 && (digits[n - 1] & std::byte(0x80)) != std::byte(0) ? ~std::uint64_t(0) : 0;
    std::memcpy(&x, digits.data(), n);
    return std::int64_t(x);
  }

  void push(Kind kind, std::int64_t number = 0, std::string_view text = {}) { stack_.push_back({kind, number, text}); }
  Value& top() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("the stack is empty");
    return stack_.back();
  }
  Value pop() {
    const Value value = top();
    stack_.pop_back();
    return value;
  }
  Value pop(Kind kind, const char* what) {
    const Value value = pop();
    if (value.kind != kind) fail(std::string("expected ") + what);
    return value;
  }
  std::vector<Value> pop_last(std::size_t n) {
    if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) < n) fail("the stack is too short");
    std::vector<Value> items(stack_.end() - std::ptrdiff_t(n), stack_.end());
    stack_.resize(stack_.size() - n);
    return items;
  }
  std::vector<Value> pop_to_mark() {
    if (marks_.empty()) fail("there is no mark on the stack");
    auto items = pop_last(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }
  void push_container(Kind kind, std::vector<Value> items = {}) {
    containers_.push_back(std::move(items));
    push(kind, std::int64_t(containers_.size()) - 1);
  }
  const std::vector<Value>& items(const Value& container) const { return containers_[std::size_t(container.number)]; }
  void extend(Kind kind, const std::vector<Value>& with) {
    const Value& target = top();
    if (target.kind != kind) fail(kind == Kind::kDict ? "expected a dictionary" : "expected a list");
    if (kind == Kind::kDict && with.size() % 2 != 0) fail("a key has no value");
    auto& to = containers_[std::size_t(target.number)];
    to.insert(to.end(), with.begin(), with.end());
  }

  void put(std::size_t index) {
    check_at_most(kMaxPickleMemo - 1, index, file_ + ": memo index of the pickle", ErrorKind::kFormat);
    memo_[index] = top();
  }
  void recall(std::size_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) fail("the memo has nothing at " + std::to_string(index));
    stack_.push_back(found->second);
  }

  void execute(std::uint8_t op) {
    switch (Op(op)) {
      case Op::kMark: return marks_.push_back(stack_.size());
      case Op::kNone: return push(Kind::kNone);
      case Op::kNewTrue: return push(Kind::kBool, 1);
      case Op::kNewFalse: return push(Kind::kBool, 0);
      case Op::kBinInt: return push(Kind::kInt, get<std::int32_t>());
      case Op::kBinInt1: return push(Kind::kInt, get<std::uint8_t>());
      case Op::kBinInt2: return push(Kind::kInt, get<std::uint16_t>());
      case Op::kLong1: return push(Kind::kInt, take_long());
      case Op::kBinFloat: take(8); return push(Kind::kFloat);
      case Op::kBinUnicode: return push(Kind::kText, 0, take_text(get<std::uint32_t>()));
      case Op::kEmptyTuple: return push_container(Kind::kTuple);
      case Op::kEmptyList: return push_container(Kind::kList);
      case Op::kEmptyDict: return push_container(Kind::kDict);
      case Op::kTuple: return push_container(Kind::kTuple, pop_to_mark());
      case Op::kTuple1: return push_container(Kind::kTuple, pop_last(1));
      case Op::kTuple2: return push_container(Kind::kTuple, pop_last(2));
      case Op::kTuple3: return push_container(Kind::kTuple, pop_last(3));
      case Op::kAppend: return extend(Kind::kList, pop_last(1));
      case Op::kAppends: return extend(Kind::kList, pop_to_mark());
      case Op::kSetItem: return extend(Kind::kDict, pop_last(2));
      case Op::kSetItems: return extend(Kind::kDict, pop_to_mark());
      case Op::kBinPut: return put(get<std::uint8_t>());
      case Op::kLongBinPut: return put(get<std::uint32_t>());
      case Op::kBinGet: return recall(get<std::uint8_t>());
      case Op::kLongBinGet: return recall(get<std::uint32_t>());
      case Op::kGlobal: return global();
      case Op::kBinPersId: return storage();
      case Op::kReduce: return reduce();
      case Op::kBuild: return build();
      case Op::kStop:
      case Op::kProto: break;
    }
    refuse(op);
  }

  void global() {
    const auto module = take_line(), name = take_line();
    for (const auto& known : kKnownGlobals)
      if (known.module == module && known.name == name) return push(Kind::kGlobal, &known - kKnownGlobals);
    std::string asked = std::string(module) + "." + std::string(name);
    for (char& c : asked)
      if (c < 0x20 || c > 0x7e) c = '?';
    fail("the pickle asks for " + asked + ", which is not allowed");
  }

  // ("storage", its class, key, device, elements)
  void storage() {
    const auto id = items(pop(Kind::kTuple, "a tuple that names a storage"));
    if (id.size() != 5 || id[0].kind != Kind::kText || id[0].text != "storage" || id[1].kind != Kind::kGlobal ||
        kKnownGlobals[id[1].number].global != Global::kStorage || id[2].kind != Kind::kText ||
        id[3].kind != Kind::kText || id[4].kind != Kind::kInt)
      fail("expected a storage: (\"storage\", class, key, device, elements)");
    storages_.push_back({kKnownGlobals[id[1].number].dtype, id[2].text, id[4].number});
    push(Kind::kStorage, std::int64_t(storages_.size()) - 1);
  }

  void reduce() {
    const Value arguments = pop(Kind::kTuple, "a tuple of arguments");
    const Value callee = pop(Kind::kGlobal, "something to call");
    const auto& given = items(arguments);
    switch (kKnownGlobals[callee.number].global) {
      case Global::kOrderedDict:
        if (!given.empty()) fail("expected an OrderedDict without arguments");
        return push_container(Kind::kDict);
      case Global::kRebuildTensor: return rebuild_tensor(given);
      case Global::kRebuildParameter:
        if (given.empty() || given[0].kind != Kind::kTensor) fail("expected a parameter made of a tensor");
        return push(Kind::kTensor, given[0].number);
      case Global::kStorage: fail("a storage cannot be called");
    }
  }

  // (storage, offset, shape, strides, requires_grad, hooks[, metadata])
  void rebuild_tensor(const std::vector<Value>& given) {
    if (given.size() < 6 || given.size() > 7 || given[0].kind != Kind::kStorage || given[1].kind != Kind::kInt)
      fail("expected a tensor: (storage, offset, shape, strides, requires_grad, hooks)");
    const auto& from = storages_[std::size_t(given[0].number)];
    PickledTensor tensor{{}, from.key, from.dtype, from.count, given[1].number, sizes(given[2]), sizes(given[3])};
    check_equal(tensor.shape.size(), tensor.strides.size(), file_ + ": strides of a tensor", ErrorKind::kFormat);
    tensors_.push_back(std::move(tensor));
    push(Kind::kTensor, std::int64_t(tensors_.size()) - 1);
  }

  std::vector<Index> sizes(const Value& tuple) const {
    if (tuple.kind != Kind::kTuple) fail("expected a tuple of sizes");
    check_at_most(kMaxTensorRank, items(tuple).size(), file_ + ": dimensions of a tensor", ErrorKind::kFormat);
    std::vector<Index> out;
    for (const auto& size : items(tuple)) {
      if (size.kind != Kind::kInt) fail("expected an integer size");
      out.push_back(size.number);
    }
    return out;
  }

  // Attributes of a dictionary (torch keeps version numbers of modules there) are not needed.
  void build() {
    pop(Kind::kDict, "a dictionary of attributes");
    if (top().kind != Kind::kDict) fail("expected a dictionary that gets attributes");
  }

  std::vector<PickledTensor> result() {
    const Value root = pop(Kind::kDict, "a dictionary from names to tensors at the top");
    if (!stack_.empty()) fail("something is left on the stack");
    const auto& pairs = items(root);
    std::vector<PickledTensor> out;
    std::unordered_set<std::string_view> seen;
    for (std::size_t i = 0; i < pairs.size(); i += 2) {
      if (pairs[i].kind != Kind::kText) fail("expected names as keys of the dictionary");
      if (!seen.insert(pairs[i].text).second) fail("the name " + std::string(pairs[i].text) + " is there twice");
      if (pairs[i + 1].kind != Kind::kTensor) continue;
      out.push_back(tensors_[std::size_t(pairs[i + 1].number)]);
      out.back().name = pairs[i].text;
    }
    if (out.empty() && !pairs.empty())
      fail("no value of the dictionary is a tensor; its first key is " + std::string(pairs[0].text));
    return out;
  }

  std::span<const std::byte> bytes_;
  const std::string& file_;
  std::size_t at_ = 0, op_at_ = 0;
  std::vector<Value> stack_;
  std::vector<std::size_t> marks_;  // sizes of the stack
  std::unordered_map<std::size_t, Value> memo_;
  std::deque<std::vector<Value>> containers_;
  std::vector<Storage> storages_;
  std::vector<PickledTensor> tensors_;
};

}  // namespace detail

// The tensors of a pickled dictionary; values of other kinds are passed over. `file` is what errors name.
// Errors: kFormat (anything not allowed, with its byte offset), kCapacity (too large).
inline std::vector<PickledTensor> read_pickled_tensors(std::span<const std::byte> bytes, const std::string& file) {
  return detail::PickleMachine(bytes, file).run();
}

}  // namespace facellava::io
