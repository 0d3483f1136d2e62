// Tests of pin files that are tied to what somebody else holds: the peer of a socket, the other end
// of a pipe, a process.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <memory>
#include <string>
#include <utility>

#include "lib/base/fd.h"
#include "tests/pin/pin_file_client.h"
#include "tests/testing/pins.h"

namespace linchpin {
namespace {

using testing::FakeClient;
using ::testing::HasSubstr;
using testing::WaitFor;

struct Ends {
  Fd here;
  Fd there;
};

Ends SocketPair(int type) {
  std::array<int, 2> ends{};
  EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

Ends Pipe() {  // `here` reads.
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

Ends TcpPair() {
  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(bind(listener.get(), any, size), 0);
  EXPECT_EQ(listen(listener.get(), 1), 0);
  EXPECT_EQ(getsockname(listener.get(), any, &size), 0);
  Fd there(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(there.get(), any, size), 0);
  return {Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)), std::move(there)};
}

std::shared_ptr<PinFile> Attach(const Fd& fd, PinFileOptions options = {}) {
  auto file = PinFile::Attach(fd.get(), std::move(options));
  EXPECT_TRUE(file.ok()) << file.status().ToString();
  return file.ok() ? *std::move(file) : nullptr;
}

// Revoked by the end of the other side, and not by that of this one.
void EndsWithTheOther(Ends ends) {
  const auto file = Attach(ends.here);
  ASSERT_NE(file, nullptr);
  FakeClient client;
  ASSERT_TRUE(client.Begin(*file).ok());
  const Fd copy(dup(ends.here.get()));
  ends.here.Reset(-1);
  EXPECT_TRUE(file->alive());
  ends.there.Reset(-1);
  EXPECT_TRUE(WaitFor("other end closed to revoked", [&] { return client.claims() == 0; }));
  EXPECT_TRUE(file->revoked());
}

TEST(PinFileAttach, ToASocketEndsWithItsPeer) {
  EndsWithTheOther(SocketPair(SOCK_STREAM));
  EndsWithTheOther(SocketPair(SOCK_SEQPACKET));
  EndsWithTheOther(TcpPair());
}

TEST(PinFileAttach, ToAPipeEndsWithItsOtherEnd) {
  EndsWithTheOther(Pipe());
  Ends ends = Pipe();
  EndsWithTheOther({std::move(ends.there), std::move(ends.here)});
}

TEST(PinFileAttach, WhatThePeerSendsIsTheApplications) {
  const Ends ends = SocketPair(SOCK_STREAM);
  const auto file = Attach(ends.here);
  ASSERT_EQ(send(ends.there.get(), "hello", 5, 0), 5);
  std::array<char, 5> text{};
  EXPECT_EQ(recv(ends.here.get(), text.data(), text.size(), 0), 5);
  EXPECT_TRUE(file->alive());
}

TEST(PinFileAttach, APeerThatDiesWithWordsUnreadIsGone) {
  Ends ends = SocketPair(SOCK_STREAM);
  const auto file = Attach(ends.here);
  ASSERT_EQ(send(ends.there.get(), "hello", 5, 0), 5);
  ends.there.Reset(-1);
  EXPECT_TRUE(WaitFor("closed to revoked", [&] { return file->revoked(); }));
  std::array<char, 5> text{};
  EXPECT_EQ(recv(ends.here.get(), text.data(), text.size(), 0), 5);
}

TEST(PinFileAttach, APeerThatOnlyStopsSendingIsGoneUnlessSaidOtherwise) {
  for (const bool tcp : {false, true}) {
    const Ends ends = tcp ? TcpPair() : SocketPair(SOCK_STREAM);
    const auto file = Attach(ends.here);
    const auto tolerant = Attach(ends.here, {.half_close_is_alive = true});
    ASSERT_EQ(shutdown(ends.there.get(), SHUT_WR), 0);
    EXPECT_TRUE(WaitFor("half closed to revoked", [&] { return file->revoked(); }));
    EXPECT_TRUE(tolerant->alive());
    ASSERT_EQ(shutdown(ends.here.get(), SHUT_WR), 0);
    EXPECT_TRUE(WaitFor("both halves closed to revoked", [&] { return tolerant->revoked(); }));
  }
}

TEST(PinFileAttach, TheApplicationEndsItByShuttingItsOwnSideDown) {
  const Ends ends = SocketPair(SOCK_STREAM);
  const auto file = Attach(ends.here);
  ASSERT_EQ(shutdown(ends.here.get(), SHUT_RDWR), 0);
  EXPECT_TRUE(WaitFor("shut down to revoked", [&] { return file->revoked(); }));
}

TEST(PinFileAttach, APeerThatIsGoneAlreadyMakesAFileThatEndsAtOnce) {
  Ends ends = SocketPair(SOCK_STREAM);
  ends.there.Reset(-1);
  const auto file = Attach(ends.here);
  EXPECT_TRUE(WaitFor("attached to revoked", [&] { return file->revoked(); }));
}

TEST(PinFileAttach, ToAPidfdEndsWithItsProcess) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    pause();
    _exit(1);
  }
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  ASSERT_TRUE(pidfd.valid());
  const auto file = Attach(pidfd);
  ASSERT_NE(file, nullptr);
  FakeClient client;
  ASSERT_TRUE(client.Begin(*file).ok());
  EXPECT_TRUE(file->alive());
  kill(child, SIGKILL);
  EXPECT_TRUE(WaitFor("killed to revoked", [&] { return client.claims() == 0; }));
  waitpid(child, nullptr, 0);
  // One of a process that nobody waits for any more is still a pidfd.
  const auto late = Attach(pidfd);
  ASSERT_NE(late, nullptr);
  EXPECT_TRUE(WaitFor("attached to revoked", [&] { return late->revoked(); }));
}

TEST(PinFileAttach, ManyMayBeTiedToOneDescriptor) {
  Ends ends = SocketPair(SOCK_STREAM);
  const auto one = Attach(ends.here);
  const auto other = Attach(ends.here);
  EXPECT_TRUE(one->Close().ok());
  EXPECT_TRUE(other->alive());
  char byte = 0;
  EXPECT_EQ(recv(ends.there.get(), &byte, 1, MSG_DONTWAIT), -1);  // Still connected.
  ends.there.Reset(-1);
  EXPECT_TRUE(WaitFor("closed to revoked", [&] { return other->revoked(); }));
}

TEST(PinFileAttach, ACloseOfTheFileLeavesNoCopyOfTheDescriptor) {
  Ends ends = SocketPair(SOCK_STREAM);
  const auto file = Attach(ends.here);
  EXPECT_TRUE(file->Close().ok());
  ends.here.Reset(-1);
  char byte = 0;
  EXPECT_EQ(recv(ends.there.get(), &byte, 1, 0), 0);
}

void IsRefused(int fd, const char* because) {
  const absl::Status refused = PinFile::Attach(fd).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused.ToString();
  EXPECT_THAT(std::string(refused.message()), HasSubstr(because));
}

TEST(PinFileAttach, ToWhatCanNeverSayThatItEndedIsRefused) {
  std::string name = ::testing::TempDir() + "linchpin-attach-XXXXXX";
  const Fd regular(mkostemp(name.data(), O_CLOEXEC));
  unlink(name.c_str());
  IsRefused(regular.get(), "a regular file");
  const Fd folder(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  IsRefused(folder.get(), "a directory");
  const Fd process(open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  IsRefused(process.get(), "a directory");  // Which pidfd_send_signal would take.
  const Fd unconnected(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  IsRefused(unconnected.get(), "not connected");
  const Ends datagrams = SocketPair(SOCK_DGRAM);
  IsRefused(datagrams.here.get(), "without connections");
  const Fd event(eventfd(0, EFD_CLOEXEC));
  IsRefused(event.get(), "neither socket nor pipe nor pidfd");
  const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  IsRefused(null.get(), "neither socket nor pipe nor pidfd");
  IsRefused(-1, "EBADF");
}

TEST(PinFileAttach, ToBothEndsOfAFifoAtOnceIsRefused) {
  const std::string name = ::testing::TempDir() + "linchpin-fifo-" + std::to_string(getpid());
  ASSERT_EQ(mkfifo(name.c_str(), 0600), 0);
  const Fd both(open(name.c_str(), O_RDWR | O_CLOEXEC));
  unlink(name.c_str());
  IsRefused(both.get(), "both ends");
}

}  // namespace
}  // namespace linchpin
