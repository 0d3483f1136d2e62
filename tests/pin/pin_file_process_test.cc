// Tests of pin files whose holder is in another process: passed to it, inherited by it, and gone
// with it, however it goes. The pins are the kernel's own (VmPin).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "lib/base/fd.h"
#include "linchpin/pin.h"
#include "tests/pin/pin_file_client.h"
#include "tests/registrar/loopback_fixture.h"
#include "tests/testing/pins.h"

namespace linchpin {
namespace {

using testing::kAllRights;
using testing::LoopbackTest;
using testing::Mapped;
using testing::Owner;
using testing::PinnedBytes;
using testing::WaitFor;

// A process that does `body`, and then waits for its end.
class Process final {
 public:
  explicit Process(const std::function<void()>& body) : pid_(fork()) {
    if (pid_ != 0) return;
    alarm(60);
    body();
    for (;;) pause();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }

 private:
  pid_t pid_;
};

struct Message {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
  Message() {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
};

bool SendDescriptor(int socket, int fd) {
  Message message;
  cmsghdr* const passed = CMSG_FIRSTHDR(&message.header);
  passed->cmsg_level = SOL_SOCKET;
  passed->cmsg_type = SCM_RIGHTS;
  passed->cmsg_len = CMSG_LEN(sizeof(int));
  *reinterpret_cast<int*>(CMSG_DATA(passed)) = fd;
  return sendmsg(socket, &message.header, MSG_NOSIGNAL) == 1;
}

int ReceiveDescriptor(int socket) {
  Message message;
  if (recvmsg(socket, &message.header, MSG_CMSG_CLOEXEC) != 1) return -1;
  cmsghdr* const passed = CMSG_FIRSTHDR(&message.header);
  return passed == nullptr ? -1 : *reinterpret_cast<int*>(CMSG_DATA(passed));
}

class PinFileProcess : public LoopbackTest {
 protected:
  void SetUp() override {
    LoopbackTest::SetUp();
    if (device_ == nullptr) return;
    std::array<int, 2> ends{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    ours_ = Fd(ends[0]);
    theirs_ = Fd(ends[1]);
  }
  void Pin(const std::shared_ptr<PinFile>& file) {
    PinRequest request;
    request.range = {memory_.start(), memory_.start() + memory_.size()};
    request.rights = kAllRights;
    request.file = file;
    auto pin = PinVaddr(device_, request);
    ASSERT_TRUE(pin.ok()) << pin.status().ToString();
    pin_ = *std::move(pin);
    ASSERT_EQ(PinnedBytes(), pinned_at_start_ + memory_.size());
  }
  void TearDown() override {
    pin_ = VaddrPin();
    LoopbackTest::TearDown();
  }
  bool PinsAreGone(const char* what) {
    return WaitFor(what, [this] { return PinnedBytes() == pinned_at_start_; });
  }
  char Hear() {
    char byte = 0;
    EXPECT_EQ(recv(ours_.get(), &byte, 1, 0), 1);
    return byte;
  }

  const Mapped memory_{std::size_t{1} << 20};
  VaddrPin pin_;
  Fd ours_;
  Fd theirs_;
};

TEST_F(PinFileProcess, AHolderPassedToAProcessThatIsKilledIsClosed) {
  Owner held = Owner();
  Process other([&held, this] {
    held.holder.Reset(-1);  // What it inherited: it is to have only what it is sent.
    ours_.Reset(-1);
    const int holder = ReceiveDescriptor(theirs_.get());
    send(theirs_.get(), holder >= 0 ? "y" : "n", 1, 0);
  });
  ASSERT_TRUE(SendDescriptor(ours_.get(), held.holder.get()));
  ASSERT_EQ(Hear(), 'y');
  held.holder.Reset(-1);
  Pin(held.file);
  EXPECT_TRUE(held.file->alive());
  other.Kill();
  EXPECT_TRUE(PinsAreGone("killed to unpinned"));
  EXPECT_TRUE(pin_.revoked());
}

TEST_F(PinFileProcess, AHolderInheritedOverExecIsClosedWithTheProgram) {
  Owner held = Owner();
  Fd inherited(dup(held.holder.get()));  // Not closed on exec.
  const pid_t child = fork();
  if (child == 0) {
    // Reads until its standard input is closed.
    dup2(theirs_.get(), STDIN_FILENO);
    execl("/bin/cat", "cat", nullptr);
    _exit(127);
  }
  inherited.Reset(-1);
  held.holder.Reset(-1);
  theirs_.Reset(-1);
  Pin(held.file);
  EXPECT_TRUE(held.file->alive());
  shutdown(ours_.get(), SHUT_WR);
  EXPECT_TRUE(PinsAreGone("end of input to unpinned"));
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(PinFileProcess, AnExecWithoutTheHolderClosesIt) {
  Owner held = Owner();
  const pid_t child = fork();
  if (child == 0) {
    dup2(theirs_.get(), STDIN_FILENO);
    execl("/bin/cat", "cat", nullptr);
    _exit(127);
  }
  Pin(held.file);
  held.holder.Reset(-1);
  EXPECT_TRUE(PinsAreGone("closed, and closed by exec, to unpinned"));
  shutdown(ours_.get(), SHUT_WR);
  theirs_.Reset(-1);
  waitpid(child, nullptr, 0);
}

TEST_F(PinFileProcess, TheDeathOfASocketsPeerUnpins) {
  auto file = PinFile::Attach(ours_.get());
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  Process other([this] { ours_.Reset(-1); });
  theirs_.Reset(-1);
  Pin(*file);
  EXPECT_TRUE((*file)->alive());
  other.Kill();
  EXPECT_TRUE(PinsAreGone("peer killed to unpinned"));
}

// The watcher's end of the holder, and an attached descriptor's copy, are the parent's business.
TEST_F(PinFileProcess, AForkedChildThatLivesOnKeepsNothingAliveButAHolder) {
  Owner held = Owner();
  auto file = PinFile::Attach(ours_.get());
  ASSERT_TRUE(file.ok());
  const Process other([&held, this] {
    held.holder.Reset(-1);
    theirs_.Reset(-1);
  });
  Pin(held.file);
  held.holder.Reset(-1);
  EXPECT_TRUE(PinsAreGone("closed to unpinned"));
  theirs_.Reset(-1);
  EXPECT_TRUE(WaitFor("peer closed to revoked", [&] { return (*file)->revoked(); }));
}

}  // namespace
}  // namespace linchpin
