// The example in scatter_list.h, word for word: compiled, run, and compared with it.
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "tests/io/fixture.h"

namespace linchpin::testing {
namespace {

class ScatterExample : public ScatterFixture {
 protected:
  absl::Status Run();

  struct Posted {
    std::vector<ibv_sge> elements;
    std::uint64_t offset = 0;
  };
  std::vector<Posted> posted_;
};

absl::Status ScatterExample::Run() {
  RegistrationCache* const cache = cache_.get();
  char* const header = memory_.data();
  const std::size_t header_bytes = 64;
  char* const body = memory_.data() + kPage;
  const std::size_t body_bytes = 3000;
  ibv_mr mr{};
  mr.lkey = 1234;
  const ibv_mr* const header_mr = &mr;
  const RunLimits limits;
  const auto PostWrite = [&](const ScatterRun& run) {
    posted_.push_back({{run.elements, run.elements + run.count}, run.offset});
  };
  const auto AwaitCompletions = [&](std::uint64_t bytes) {
    EXPECT_EQ(bytes, header_bytes + body_bytes);
    EXPECT_EQ(leases(), 1u);
  };
#include "tests/io/scatter_list_example.inc"
}

TEST_F(ScatterExample, Works) {
  ASSERT_TRUE(Run().ok());
  ASSERT_EQ(posted_.size(), 2u);
  EXPECT_EQ(posted_[0].elements[0].lkey, 1234u);
  EXPECT_EQ(posted_[0].offset, 0u);
  EXPECT_EQ(posted_[1].elements[0].addr, memory_.start() + kPage);
  EXPECT_EQ(posted_[1].offset, 64u);
  EXPECT_EQ(leases(), 0u);
}

std::string TextOf(const std::string& path) {
  std::ostringstream all;
  all << std::ifstream(std::string(LINCHPIN_SOURCE_DIR) + "/" + path).rdbuf();
  return all.str();
}

TEST(ScatterExampleText, IsTheOneInTheHeader) {
  const std::string header = TextOf("include/linchpin/scatter_list.h");
  if (header.empty()) GTEST_SKIP() << "the sources are not here any more";
  std::istringstream example(TextOf("tests/io/scatter_list_example.inc"));
  std::string comment;
  std::getline(example, comment);  // It says what the file is.
  comment.clear();
  for (std::string line; std::getline(example, line);) comment += "// " + line + "\n";
  ASSERT_GT(comment.size(), 100u);
  EXPECT_NE(header.find(comment), std::string::npos) << comment;
}

}  // namespace
}  // namespace linchpin::testing
