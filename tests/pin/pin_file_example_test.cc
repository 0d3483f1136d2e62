// The example of docs/pin-files.md, word for word: compiled, run, and compared with it.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "lib/base/fd.h"
#include "linchpin/pin.h"
#include "tests/registrar/loopback_fixture.h"
#include "tests/testing/pins.h"

namespace linchpin {
namespace {

using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;
using testing::WaitFor;

struct Outcome {
  VaddrPin pin;
  std::shared_ptr<PinFile> file;
};

absl::Status SendDescriptor(int socket, int fd) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* const passed = CMSG_FIRSTHDR(&header);
  passed->cmsg_level = SOL_SOCKET;
  passed->cmsg_type = SCM_RIGHTS;
  passed->cmsg_len = CMSG_LEN(sizeof(int));
  *reinterpret_cast<int*>(CMSG_DATA(passed)) = fd;
  return sendmsg(socket, &header, MSG_NOSIGNAL) == 1 ? absl::OkStatus()
                                                     : absl::UnavailableError("sendmsg");
}

absl::Status Example(const std::shared_ptr<Registrar>& registrar, const Mapped& memory, int worker,
                     Outcome& outcome) {
  const std::uintptr_t start = memory.start();
  const std::size_t length = memory.size();
#include "tests/pin/pin_file_example.inc"
  outcome = {*std::move(pin), created->file};
  return sent;
}

class PinFileExample : public LoopbackTest {};

TEST_F(PinFileExample, TheWorkersLifeIsThePins) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const Fd ours(ends[0]);
  Fd theirs(ends[1]);
  const pid_t worker = fork();  // What is sent waits in its socket, and lives as long as that.
  if (worker == 0) {
    alarm(60);
    for (;;) pause();
  }
  theirs.Reset(-1);
  const Mapped memory(4 * kPage);
  Outcome outcome;
  EXPECT_TRUE(Example(device_, memory, ours.get(), outcome).ok());
  ASSERT_TRUE(outcome.pin);
  EXPECT_TRUE(outcome.file->alive());
  kill(worker, SIGKILL);
  waitpid(worker, nullptr, 0);
  EXPECT_TRUE(WaitFor("the worker's end", [&] { return outcome.file->revoked(); }));
  EXPECT_TRUE(outcome.pin.revoked());
}

TEST(PinFileDocument, HasTheExamplesText) {
  const auto text = [](const std::string& name) {
    std::ostringstream all;
    all << std::ifstream(std::string(LINCHPIN_SOURCE_DIR) + name).rdbuf();
    return all.str();
  };
  const std::string document = text("/docs/pin-files.md");
  if (document.empty()) GTEST_SKIP() << "the sources are not here any more";
  std::string example = text("/tests/pin/pin_file_example.inc");
  ASSERT_NE(example.find("PinFileOptions"), std::string::npos);
  example.erase(0, example.find("PinFileOptions"));
  EXPECT_NE(document.find("```cpp\n" + example + "```\n"), std::string::npos)
      << "docs/pin-files.md does not have the text of tests/pin/pin_file_example.inc";
}

}  // namespace
}  // namespace linchpin
