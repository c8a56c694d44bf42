#include "facellava/text/load_tokenizer.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "text/tokenizers.hpp"

using namespace facellava::text;

namespace {

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / "facellava_load_tokenizer_test";
  Folder() {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string write(std::string_view json) const {
    std::ofstream(path / "tokenizer_config.json", std::ios::binary) << json;
    return (path / "tokenizer_config.json").string();
  }
};

}  // namespace

TEST_CASE("legacy is true unless the file says otherwise") {
  const Folder folder;
  CHECK(read_legacy((folder.path / "absent.json").string()) == Legacy::kYes);
  CHECK(read_legacy(folder.write("{}")) == Legacy::kYes);
  CHECK(read_legacy(folder.write(R"({"legacy": true})")) == Legacy::kYes);
  CHECK(read_legacy(folder.write(R"({"legacy": false})")) == Legacy::kNo);
  CHECK(read_legacy(folder.write(R"({"legacy": null})")) == Legacy::kNo);
  for (const char* bad : {"", "[]", "{", R"({"legacy": 0})", R"({"legacy": "no"})", "3"})
    CHECK_THROWS_AS(read_legacy(folder.write(bad)), facellava::Error);
  CHECK_THROWS_AS(read_legacy(folder.path.string()), facellava::Error);
}

TEST_CASE("a model folder: the golden checkpoint has legacy false") {
  const Tokenizer tokenizer = load_tokenizer(FACELLAVA_GOLDENS "/model_tiny/ckpt_safetensors_bf16");
  CHECK(tokenizer.encode("a</s>b", Bos::kYes) == std::vector<int>{1, 263, 2, 29890});
  const Folder folder;
  CHECK_THROWS_AS(load_tokenizer(folder.path.string()), facellava::Error);
  std::filesystem::copy_file(kLlamaModel, folder.path / "tokenizer.model");
  CHECK(load_tokenizer(folder.path.string()).encode("a</s>b", Bos::kYes) == std::vector<int>{1, 263, 2, 289});
}
