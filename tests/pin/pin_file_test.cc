// Tests of the life of a pin file: what ends it, what its clients are told, and when.
#include "linchpin/pin_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>

#include "lib/base/fd.h"
#include "tests/pin/pin_file_client.h"
#include "tests/testing/pins.h"

namespace linchpin {
namespace {

using testing::FakeClient;
using ::testing::HasSubstr;
using testing::Owner;
using testing::WaitFor;

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

TEST(PinFile, IsAliveAndGivesClaimsWhileItsHolderIsOpen) {
  const Owner held = Owner({.name = "buffers"});
  FakeClient client;
  EXPECT_TRUE(held.file->alive());
  EXPECT_FALSE(held.file->revoked());
  EXPECT_EQ(held.file->name(), "buffers");
  EXPECT_NE(held.file->id(), 0U);
  EXPECT_TRUE(client.Begin(*held.file).ok());
  client.EndAll();
  EXPECT_TRUE(held.file->alive());
  EXPECT_TRUE(client.Begin(*held.file).ok());
  client.EndAll();
}

TEST(PinFile, TheHolderIsClosedOnExec) {
  const Owner held = Owner();
  EXPECT_EQ(fcntl(held.holder.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(PinFile, HasAnIdOfItsOwnAndANameThatIsCut) {
  const Owner one = Owner({.name = std::string(100, 'x')});
  const Owner other = Owner();
  EXPECT_NE(one.file->id(), other.file->id());
  EXPECT_EQ(one.file->name(), std::string(63, 'x'));
}

TEST(PinFile, IsRevokedWhenTheLastCopyOfItsHolderIsClosed) {
  Owner held = Owner({.name = "buffers"});
  FakeClient client;
  ASSERT_TRUE(client.Begin(*held.file).ok());
  Fd copy(dup(held.holder.get()));
  held.holder.Reset(-1);
  EXPECT_TRUE(held.file->alive());
  copy.Reset(-1);
  EXPECT_TRUE(WaitFor("closed to revoked", [&] { return held.file->revoked(); }));
  EXPECT_TRUE(WaitFor("claims ended", [&] { return client.claims() == 0; }));
  EXPECT_EQ(client.closings, 1);
  EXPECT_EQ(client.revocations, 1);
  const absl::Status refused = client.Begin(*held.file);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_THAT(Message(refused), HasSubstr("(buffers) has ended: its last holder"));
}

TEST(PinFile, IsRevokedWhenAHolderShutsItDown) {
  for (const int how : {SHUT_WR, SHUT_RDWR}) {
    const Owner held = Owner();
    const Fd copy(dup(held.holder.get()));
    shutdown(copy.get(), how);
    EXPECT_TRUE(WaitFor("shut down to revoked", [&] { return held.file->revoked(); }));
  }
}

TEST(PinFile, AHolderThatOnlyStopsReadingIsStillThere) {
  Owner held = Owner();
  shutdown(held.holder.get(), SHUT_RD);
  FakeClient client;
  EXPECT_TRUE(client.Begin(*held.file).ok());
  held.holder.Reset(-1);
  EXPECT_TRUE(WaitFor("closed to revoked", [&] { return held.file->revoked(); }));
  EXPECT_EQ(client.claims(), 0);
}

TEST(PinFile, WhatIsSentToTheHolderIsThrownAway) {
  Owner held = Owner();
  const std::string text(1 << 20, 'x');  // More than a socket's buffer holds.
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t count =
        send(held.holder.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    ASSERT_GT(count, 0);
    sent += static_cast<std::size_t>(count);
  }
  EXPECT_TRUE(held.file->alive());
}

void SendDescriptor(int socket, int fd) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  *reinterpret_cast<int*>(CMSG_DATA(header)) = fd;
  ASSERT_EQ(sendmsg(socket, &message, MSG_NOSIGNAL), 1);
}

TEST(PinFile, AHolderThatIsSentToItselfDoesNotKeepItAlive) {
  Owner held = Owner();
  SendDescriptor(held.holder.get(), held.holder.get());
  held.holder.Reset(-1);
  EXPECT_TRUE(WaitFor("sent and closed to revoked", [&] { return held.file->revoked(); }));
}

TEST(PinFile, ADescriptorThatIsSentIsClosed) {
  const Owner held = Owner();
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(pipe2(pipe_ends.data(), O_CLOEXEC), 0);
  const Fd reader(pipe_ends[0]);
  Fd writer(pipe_ends[1]);
  SendDescriptor(held.holder.get(), writer.get());
  writer.Reset(-1);
  char byte = 0;
  EXPECT_EQ(read(reader.get(), &byte, 1), 0);  // Returns once nobody can write any more.
}

TEST(PinFile, TheHolderHearsThatAllIsDeregistered) {
  const Owner held = Owner();
  FakeClient client;
  std::atomic<bool> open_while_revoking = false;
  client.on_revoke = [&](const internal::PinFileCore&) {
    char byte = 0;
    open_while_revoking = recv(held.holder.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
    client.EndAll();
  };
  ASSERT_TRUE(client.Begin(*held.file).ok());
  EXPECT_TRUE(held.file->Revoke(absl::ZeroDuration()).ok());
  char byte = 0;
  EXPECT_EQ(recv(held.holder.get(), &byte, 1, 0), 0);
  EXPECT_TRUE(open_while_revoking);
}

TEST(PinFile, WithoutGraceRevokeTakesEverythingBeforeItReturns) {
  const Owner held = Owner();
  FakeClient one;
  FakeClient other;
  ASSERT_TRUE(one.Begin(*held.file).ok());
  ASSERT_TRUE(one.Begin(*held.file).ok());
  ASSERT_TRUE(other.Begin(*held.file).ok());
  EXPECT_TRUE(held.file->Revoke(absl::ZeroDuration()).ok());
  EXPECT_TRUE(held.file->revoked());
  EXPECT_EQ(one.claims() + other.claims(), 0);
  EXPECT_EQ(one.revocations + other.revocations, 2);
  EXPECT_TRUE(held.file->Revoke(absl::ZeroDuration()).ok());
}

TEST(PinFile, WithinTheGraceTimeNothingIsRevoked) {
  Owner held = Owner({.grace = absl::InfiniteDuration()});
  FakeClient client;
  ASSERT_TRUE(client.Begin(*held.file).ok());
  held.holder.Reset(-1);
  ASSERT_TRUE(WaitFor("closed to closing", [&] { return client.closings == 1; }));
  EXPECT_FALSE(held.file->alive());
  EXPECT_FALSE(held.file->revoked());
  EXPECT_TRUE(absl::IsFailedPrecondition(client.Begin(*held.file)));
  client.EndAll();
  EXPECT_TRUE(held.file->revoked());
  EXPECT_EQ(client.revocations, 0);
}

TEST(PinFile, AfterTheGraceTimeWhatIsHeldIsRevoked) {
  Owner held = Owner({.grace = absl::Milliseconds(20)});
  FakeClient client;
  ASSERT_TRUE(client.Begin(*held.file).ok());
  held.holder.Reset(-1);
  EXPECT_TRUE(WaitFor("closed to grace over", [&] { return client.claims() == 0; }));
  EXPECT_EQ(client.revocations, 1);
}

TEST(PinFile, ALaterRevokeShortensTheGraceTime) {
  Owner held = Owner({.grace = absl::InfiniteDuration()});
  FakeClient client;
  ASSERT_TRUE(client.Begin(*held.file).ok());
  held.holder.Reset(-1);
  ASSERT_TRUE(WaitFor("closed to closing", [&] { return client.closings == 1; }));
  EXPECT_TRUE(held.file->Revoke(absl::Milliseconds(1)).ok());
  EXPECT_EQ(client.revocations, 1);
}

TEST(PinFile, RevokeSaysWhenSomethingIsNotDeregisteredInTime) {
  const Owner held = Owner();
  FakeClient client;
  client.on_revoke = [](const internal::PinFileCore&) {};  // A device that takes its time.
  ASSERT_TRUE(client.Begin(*held.file).ok());
  const absl::Status late = held.file->Revoke(absl::ZeroDuration());
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late.ToString();
  EXPECT_THAT(Message(late), HasSubstr("1 pins or leases"));
  EXPECT_FALSE(held.file->revoked()) << "its memory is still pinned";
  client.EndAll();
  EXPECT_TRUE(held.file->revoked());
  EXPECT_TRUE(held.file->Revoke(absl::ZeroDuration()).ok());
}

TEST(PinFile, AClosedOneKeepsNoDescriptor) {
  const Owner held = Owner();
  EXPECT_TRUE(held.file->Close().ok());
  char byte = 0;
  EXPECT_EQ(recv(held.holder.get(), &byte, 1, 0), 0);
  EXPECT_TRUE(held.file->revoked());
  EXPECT_TRUE(held.file->Close().ok());
}

TEST(PinFile, OneThatItsUserDestroysGoesOnWhileSomethingIsPinned) {
  Owner held = Owner();
  FakeClient client;
  ASSERT_TRUE(client.Begin(*held.file).ok());
  held.file.reset();
  // What nobody holds goes; what somebody holds stays until the holder is closed.
  EXPECT_TRUE(WaitFor("destroyed to closing", [&] { return client.closings == 1; }));
  EXPECT_EQ(client.revocations, 0);
  EXPECT_EQ(client.claims(), 1);
  held.holder.Reset(-1);
  EXPECT_TRUE(WaitFor("closed to revoked", [&] { return client.claims() == 0; }));
}

TEST(PinFile, OneThatItsUserDestroysWithNothingPinnedLetsItsHolderKnow) {
  Owner held = Owner();
  held.file.reset();
  char byte = 0;
  EXPECT_EQ(recv(held.holder.get(), &byte, 1, 0), 0);
}

TEST(PinFile, AClientMayEndBetweenItsLastClaimAndTheNextCall) {
  // The race is in tests/pin/pin_file_race_test.cc; this is its simplest order.
  const Owner held = Owner();
  auto client = std::make_unique<FakeClient>();
  ASSERT_TRUE(client->Begin(*held.file).ok());
  client->EndAll();
  client.reset();
  EXPECT_TRUE(held.file->Close().ok());
}

}  // namespace
}  // namespace linchpin
