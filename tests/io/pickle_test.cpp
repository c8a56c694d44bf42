#include "facellava/io/pickle.hpp"

#include "io/scratch.hpp"

using namespace facellava;
using namespace facellava::io;
using namespace facellava::test;

namespace {

std::vector<PickledTensor> read(std::string_view bytes) { return read_pickled_tensors(as_bytes(bytes), "p.bin"); }
std::string refusal(std::string_view bytes, ErrorKind kind = ErrorKind::kFormat) {
  return error_of(kind, [&] { read(bytes); });
}
std::string tensor() { return pickle_tensor(pickle_storage("HalfStorage", "7", 12), 2, {2, 5}, {5, 1}); }
// Protocol 2, then `code`, then STOP.
std::string program(const std::string& code) { return "\x80\x02" + code + "."; }

}  // namespace

TEST_CASE("a dictionary of tensors") {
  const std::string bytes = pickle_dict(pickle_text("w") + tensor());
  const auto found = read(bytes);
  REQUIRE(found.size() == 1);
  CHECK(found[0].name == "w");
  CHECK(found[0].storage == "7");
  CHECK(found[0].dtype == DType::kF16);
  CHECK(found[0].storage_count == 12);
  CHECK(found[0].offset == 2);
  CHECK(found[0].shape == std::vector<Index>{2, 5});
  CHECK(found[0].strides == std::vector<Index>{5, 1});
  CHECK(read(program("}")).empty());
}

TEST_CASE("an ordered dictionary with attributes, parameters, memo, and values that are no tensors") {
  const std::string ordered = pickle_global("collections", "OrderedDict");
  const std::string parameter =
      pickle_global("torch._utils", "_rebuild_parameter") + "(" + tensor() + "\x88" + ordered + ")RtR";
  const std::string items = pickle_text("p") + parameter + pickle_text("epoch") + "K\x05" + pickle_text("rate") + "G" +
                            std::string(8, '\1') + pickle_text("none") + "N" + pickle_text("list") + "](K\1K\2e" +
                            pickle_text("nested") + "}" + pickle_text("t") + tensor() + "s" + pickle_text("q") + "h\3";
  const std::string attributes = "}" + pickle_text("_metadata") + ordered + ")Rs";
  const std::string bytes =
      program(ordered + ")R(" + pickle_text("w") + tensor() + "q\3" + items + "u" + attributes + "b");
  const auto found = read(bytes);
  REQUIRE(found.size() == 3);
  CHECK(found[0].name == "w");
  CHECK(found[1].name == "p");
  CHECK(found[2].name == "q");
}

TEST_CASE("integers of every width") {
  const auto offset = [](const std::string& number) {
    return read(pickle_dict(pickle_text("w") + pickle_global("torch._utils", "_rebuild_tensor_v2") + "(" +
                            pickle_storage("ByteStorage", "0", 1) + number + "))\x89}tR"))
        .at(0)
        .offset;
  };
  CHECK(offset("K\xff") == 255);
  CHECK(offset("M" + le(std::uint16_t(65535))) == 65535);
  CHECK(offset("J" + le(-5)) == -5);
  CHECK(offset(std::string("\x8a\0", 2)) == 0);
  CHECK(offset("\x8a\x01\xff") == -1);
  CHECK(offset("\x8a\x03" + std::string("\0\0\1", 3)) == 65536);
  CHECK(offset("\x8a\x08" + le(std::int64_t(1) << 62)) == std::int64_t(1) << 62);
  CHECK(mentions(refusal(program("\x8a\x09" + std::string(9, '\1'))), "too large"));
}

TEST_CASE("code is refused by name, never run") {
  const std::string attack = program(pickle_global("os", "system") + "(" + pickle_text("touch /tmp/owned") + "tR");
  CHECK(mentions(refusal(attack), "asks for os.system, which is not allowed"));
  CHECK(mentions(refusal(attack), "byte 2"));
  CHECK(mentions(refusal(program(pickle_global("builtins", "eval") + "(" + pickle_text("1") + "tR")), "builtins.eval"));
  CHECK(mentions(refusal(program(pickle_global("torch", "OrderedDict"))), "torch.OrderedDict"));
  CHECK(mentions(refusal(program(pickle_global("torch.storage", "UntypedStorage"))), "UntypedStorage"));
  CHECK(mentions(refusal(program(pickle_global("\x1b[2J", "x"))), "?[2J.x"));
  CHECK(mentions(refusal(program("(ios\nsystem\n")), "0x69 (INST)"));
  CHECK(mentions(refusal(program("\x93")), "0x93 (STACK_GLOBAL)"));
  CHECK(mentions(refusal(program("\x81")), "0x81 (NEWOBJ)"));
  CHECK(mentions(refusal(program("\xfe")), "0xfe (unknown)"));
  CHECK(mentions(refusal(program("\x80\x02")), "0x80"));
}

TEST_CASE("broken programs are refused") {
  const std::string ordered = pickle_global("collections", "OrderedDict");
  for (const std::string& code : {std::string(),
                                  std::string("t"),
                                  std::string("u"),
                                  std::string("}u"),
                                  std::string("}(K\1u"),
                                  std::string("}K\1K\1s"),
                                  std::string("](K\1K\1u"),
                                  std::string("K\1a"),
                                  std::string("\x85"),
                                  std::string("(\x85"),
                                  std::string("}K\1"),
                                  std::string("}}"),
                                  std::string("]"),
                                  std::string("h\1"),
                                  std::string("q\1"),
                                  std::string("K\1)R"),
                                  std::string("}}b)"),
                                  std::string("K\1}b"),
                                  std::string("K\1Q"),
                                  std::string(")Q"),
                                  ordered,
                                  ordered + "K\1\x85R",
                                  "(" + tensor() + "}",
                                  pickle_global("torch", "FloatStorage") + ")R"})
    refusal(program(code));
  CHECK(mentions(refusal("\x80\x04}."), "protocol 2"));
  CHECK(mentions(refusal(pickle_dict("K\1" + tensor())), "names as keys"));
  CHECK(mentions(refusal(pickle_dict(pickle_text("w") + tensor() + pickle_text("w") + tensor())), "w is there twice"));
  CHECK(mentions(refusal(pickle_dict(pickle_text("epoch") + "K\1")), "no value of the dictionary is a tensor"));
  const auto call = [](const std::string& arguments) {
    return pickle_dict(pickle_text("w") + pickle_global("torch._utils", "_rebuild_tensor_v2") + arguments + "R");
  };
  const std::string storage = pickle_storage("FloatStorage", "0", 1);
  CHECK(mentions(refusal(call("(K\1K\1))\x89}t")), "expected a tensor"));
  CHECK(mentions(refusal(call("(" + storage + "K\1))t")), "expected a tensor"));
  CHECK(mentions(refusal(call("(" + storage + "K\1K\1)\x89}t")), "tuple of sizes"));
  CHECK(mentions(refusal(call("(" + storage + "K\1N\x85)\x89}t")), "integer size"));
  CHECK(mentions(refusal(call("(" + storage + "K\1K\1\x85)\x89}t")), "strides"));
  CHECK(mentions(refusal(call("(" + storage + "K\1" + pickle_sizes(std::vector<std::int64_t>(33, 1)) + ")\x89}t")),
                 "at most 32"));
}

TEST_CASE("sizes are bounded and nothing recurses") {
  CHECK(mentions(refusal(program("X" + le(~std::uint32_t(0)))), "at most 65536"));
  CHECK(mentions(refusal(program("X" + le(std::uint32_t(100)) + "short")), "too early"));
  CHECK(mentions(refusal(program("}r" + le(~std::uint32_t(0)))), "memo index"));
  CHECK(mentions(refusal(program("c" + std::string(100000, 'x'))), "line is too long"));
  std::string nested = "\x80\x02)";
  nested.append(1000000, '\x85');
  CHECK(mentions(refusal(nested + "."), "expected a dictionary"));
  refusal("\x80\x02" + std::string(facellava::io::detail::kMaxPickleOperations + 1, '('), ErrorKind::kCapacity);
  std::string self = "\x80\x02]q";
  self += std::string("\0h\0a", 4);  // a list that holds itself
  refusal(self + ".");
}

TEST_CASE("a truncated pickle is refused at every length, a damaged one never does worse") {
  const std::string good =
      pickle_dict(pickle_text("w") + tensor() + pickle_text("v") + tensor() + "q\1" + pickle_text("u") + "h\1");
  for (std::size_t n = 0; n < good.size(); ++n) refusal(std::string_view(good).substr(0, n));
  mutate(good, good.size(), 6000, [&](const std::string& mutant) {
    const std::vector<char> exact(mutant.begin(), mutant.end());  // so that a read past the end is seen
    survives([&] { read({exact.data(), exact.size()}); });
  });
}
