// What every transport promises, on the device of LINCHPIN_TEST_DEVICE: bytes arrive, rights and
// bounds hold, and after a failure it works again.
#include "apps/transport/transport.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/device/test_device.h"

namespace linchpin {
namespace {

using ::linchpin::testing::DeviceTest;
using ::linchpin::testing::TestDeviceName;
using ::linchpin::testing::TestMemory;
using ::testing::HasSubstr;

constexpr std::size_t kBytes = 64 << 10;
constexpr Access kRemoteAll = kRemoteRights | Access::kLocalWrite;

// Two pieces of memory, registered as the two ends of a transfer.
class TransportTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (::testing::Test::IsSkipped() || HasFatalFailure()) return;
    transport_ = Connect();
    ASSERT_NE(transport_, nullptr);
    RegisterAll(kBytes);
  }

  void TearDown() override { DeregisterAll(); }

  void RegisterAll(std::size_t bytes) {
    DeregisterAll();
    local_ = std::make_unique<TestMemory>(bytes);
    remote_ = std::make_unique<TestMemory>(bytes);
    local_->Fill(1);
    remote_->Fill(2);
    local_mr_ = Register(local_->range(), Access::kLocalWrite);
    remote_mr_ = Register(remote_->range(), kRemoteAll);
  }

  void DeregisterAll() {
    for (Registration* mr : {&local_mr_, &remote_mr_}) {
      if (mr->handle != 0) Deregister(*mr);
    }
  }

  LocalExtent Local(std::size_t offset, std::size_t length) const {
    return {local_->data() + offset, length, local_mr_.keys[0].lkey};
  }
  RemoteExtent Remote(std::size_t offset) const {
    return {remote_->address() + offset, remote_mr_.keys[0].rkey};
  }

  Completion Run(const Transfer& transfer) {
    const auto completion = transport_->Run(transfer);
    EXPECT_TRUE(completion.ok()) << completion.status();
    EXPECT_EQ(transport_->outstanding(), 0u);
    return completion.value_or(Completion::kGeneralError);
  }
  Completion Run(Operation operation, const LocalExtent& local, RemoteExtent remote) {
    return Run({.operation = operation, .local = {&local, 1}, .remote = remote});
  }

  // That the transport, and both registrations, still do what they should.
  void ExpectWorks() {
    local_->Fill(++seed_);
    EXPECT_EQ(Run(Operation::kWrite, Local(0, 5000), Remote(0)), Completion::kSuccess);
    EXPECT_EQ(std::memcmp(local_->data(), remote_->data(), 5000), 0);
  }

  std::unique_ptr<Transport> transport_;
  std::unique_ptr<TestMemory> local_;
  std::unique_ptr<TestMemory> remote_;
  Registration local_mr_;
  Registration remote_mr_;
  std::uint32_t seed_ = 100;
};

// The bytes of `memory` as they are now.
std::vector<std::byte> Copy(const TestMemory& memory) {
  return {memory.bytes().begin(), memory.bytes().end()};
}

bool Holds(const TestMemory& memory, const std::vector<std::byte>& expected) {
  return memory.size() == expected.size() &&
         std::memcmp(memory.data(), expected.data(), expected.size()) == 0;
}

TEST_F(TransportTest, IsNamedAfterItsDeviceAndSharesItsRegistrar) {
  EXPECT_EQ(transport_->device(), TestDeviceName());
  EXPECT_EQ(transport_->registrar(), device().registrar());
  EXPECT_GE(transport_->depth(), 1u);
}

TEST_F(TransportTest, WritesExactlyTheBytesOfEverySize) {
  constexpr std::size_t kLargest = (9 << 20) + 13;  // More than one message of rxe.
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{63}, std::size_t{64},
        std::size_t{4095}, std::size_t{4096}, std::size_t{4097}, std::size_t{65536},
        std::size_t{1} << 20, (std::size_t{1} << 20) + 13, kLargest}) {
    RegisterAll(size + 4096);
    for (const std::size_t offset : {std::size_t{0}, std::size_t{1}, std::size_t{2049}}) {
      local_->Fill(++seed_);
      remote_->Fill(++seed_);
      std::vector<std::byte> expected = Copy(*remote_);
      std::copy_n(local_->data() + 5, size, expected.data() + offset);
      ASSERT_EQ(Run(Operation::kWrite, Local(5, size), Remote(offset)), Completion::kSuccess);
      ASSERT_TRUE(Holds(*remote_, expected)) << size << " at " << offset;
    }
  }
}

TEST_F(TransportTest, ReadsExactlyTheBytesOfEverySize) {
  constexpr std::size_t kLargest = (9 << 20) + 13;
  for (const std::size_t size : {std::size_t{1}, std::size_t{8}, std::size_t{4097},
                                 std::size_t{65536}, (std::size_t{1} << 20) + 13, kLargest}) {
    RegisterAll(size + 4096);
    for (const std::size_t offset : {std::size_t{0}, std::size_t{4001}}) {
      local_->Fill(++seed_);
      std::vector<std::byte> expected = Copy(*local_);
      std::copy_n(remote_->data() + offset, size, expected.data() + 3);
      ASSERT_EQ(Run(Operation::kRead, Local(3, size), Remote(offset)), Completion::kSuccess);
      ASSERT_TRUE(Holds(*local_, expected)) << size << " at " << offset;
    }
  }
}

TEST_F(TransportTest, GathersAndScattersAnyNumberOfExtents) {
  TestMemory other(kBytes);
  other.Fill(3);
  Registration other_mr = Register(other.range(), Access::kLocalWrite);
  for (const std::size_t count : {2u, 16u, 17u, 40u}) {
    // Odd lengths and gaps, from two registrations in turn, every fifth extent empty.
    std::vector<LocalExtent> extents;
    std::vector<std::byte> gathered;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t length = i % 5 == 4 ? 0 : 100 + 37 * i;
      const TestMemory& memory = i % 2 == 0 ? *local_ : other;
      const Registration& mr = i % 2 == 0 ? local_mr_ : other_mr;
      extents.push_back({memory.data() + 1500 * i, length, mr.keys[0].lkey});
      gathered.insert(gathered.end(), memory.data() + 1500 * i, memory.data() + 1500 * i + length);
    }
    const Transfer write{.operation = Operation::kWrite, .local = extents, .remote = Remote(11)};
    ASSERT_EQ(Run(write), Completion::kSuccess);
    ASSERT_EQ(std::memcmp(remote_->data() + 11, gathered.data(), gathered.size()), 0) << count;

    local_->Fill(++seed_);
    other.Fill(++seed_);
    const Transfer read{.operation = Operation::kRead, .local = extents, .remote = Remote(11)};
    ASSERT_EQ(Run(read), Completion::kSuccess);
    std::vector<std::byte> scattered;
    for (const LocalExtent& extent : extents) {
      const auto* bytes = static_cast<const std::byte*>(extent.address);
      scattered.insert(scattered.end(), bytes, bytes + extent.length);
    }
    ASSERT_EQ(scattered, gathered) << count;
  }
  Deregister(other_mr);
}

TEST_F(TransportTest, ComparesAndSwapsEightBytes) {
  const auto word = [](TestMemory& memory, std::size_t offset) {
    std::uint64_t value = 0;
    std::memcpy(&value, memory.data() + offset, 8);
    return value;
  };
  const std::uint64_t old = word(*remote_, 64);
  const LocalExtent result = Local(16, 8);
  Transfer transfer{.operation = Operation::kCompareAndSwap,
                    .local = {&result, 1},
                    .remote = Remote(64),
                    .compare = old + 1,
                    .swap = 0x1122334455667788};
  EXPECT_EQ(Run(transfer), Completion::kSuccess);
  EXPECT_EQ(word(*remote_, 64), old);  // Not equal: left as it is, and told.
  EXPECT_EQ(word(*local_, 16), old);

  transfer.compare = old;
  local_->Fill(9);
  EXPECT_EQ(Run(transfer), Completion::kSuccess);
  EXPECT_EQ(word(*remote_, 64), 0x1122334455667788u);
  EXPECT_EQ(word(*local_, 16), old);
}

TEST_F(TransportTest, AnAtomicOperationOnUnalignedBytesIsAnInvalidRequest) {
  const LocalExtent result = Local(0, 8);
  const std::vector<std::byte> before = Copy(*remote_);
  EXPECT_EQ(
      Run({.operation = Operation::kCompareAndSwap, .local = {&result, 1}, .remote = Remote(4)}),
      Completion::kRemoteInvalidRequest);
  EXPECT_TRUE(Holds(*remote_, before));
  ExpectWorks();
}

TEST_F(TransportTest, AnAtomicOperationThatIsNoWordIsRefused) {
  const LocalExtent extents[] = {Local(0, 8), Local(8, 4)};
  for (const auto& local :
       {std::span(extents, 2), std::span(extents + 1, 1), std::span(extents, 0)}) {
    const absl::Status status = transport_->Post(
        {.operation = Operation::kCompareAndSwap, .local = local, .remote = Remote(0)});
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
  EXPECT_EQ(transport_->outstanding(), 0u);
}

TEST_F(TransportTest, APeerReachesExactlyTheBytesOfItsKey) {
  constexpr std::size_t kStart = 4000;
  constexpr std::size_t kLength = 5000;
  Registration exact = Register(remote_->range(kStart, kLength), kRemoteAll);
  const auto at = [&](std::size_t offset) {
    return RemoteExtent{remote_->address() + offset, exact.keys[0].rkey};
  };
  EXPECT_EQ(Run(Operation::kWrite, Local(0, kLength), at(kStart)), Completion::kSuccess);

  const std::vector<std::byte> before = Copy(*remote_);
  local_->Fill(++seed_);
  for (const Operation operation : {Operation::kWrite, Operation::kRead}) {
    EXPECT_EQ(Run(operation, Local(0, kLength + 1), at(kStart)), Completion::kRemoteAccessError);
    EXPECT_EQ(Run(operation, Local(0, 1), at(kStart + kLength)), Completion::kRemoteAccessError);
    EXPECT_EQ(Run(operation, Local(0, 1), at(kStart - 1)), Completion::kRemoteAccessError);
    EXPECT_EQ(Run(operation, Local(0, kLength), at(kStart - 1)), Completion::kRemoteAccessError);
  }
  EXPECT_TRUE(Holds(*remote_, before));
  ExpectWorks();
  Deregister(exact);
}

TEST_F(TransportTest, ALocalExtentStaysWithinItsKey) {
  Registration exact = Register(local_->range(4000, 5000), Access::kLocalWrite);
  for (const Operation operation : {Operation::kWrite, Operation::kRead}) {
    const auto from = [&](std::size_t offset, std::size_t length) {
      return LocalExtent{local_->data() + offset, length, exact.keys[0].lkey};
    };
    EXPECT_EQ(Run(operation, from(4000, 5000), Remote(0)), Completion::kSuccess);
    EXPECT_EQ(Run(operation, from(4000, 5001), Remote(0)), Completion::kLocalProtectionError);
    EXPECT_EQ(Run(operation, from(3999, 10), Remote(0)), Completion::kLocalProtectionError);
  }
  ExpectWorks();
  Deregister(exact);
}

TEST_F(TransportTest, ARightThatWasNotAskedForIsNotThere) {
  Registration read_only = Register(remote_->range(), Access::kRemoteRead);
  Registration write_only = Register(remote_->range(), Access::kRemoteWrite | Access::kLocalWrite);
  Registration source = Register(local_->range(), Access::kLocalRead);
  const auto remote = [&](const Registration& mr) {
    return RemoteExtent{remote_->address(), mr.keys[0].rkey};
  };
  const std::vector<std::byte> before = Copy(*remote_);
  EXPECT_EQ(Run(Operation::kWrite, Local(0, 100), remote(read_only)),
            Completion::kRemoteAccessError);
  const LocalExtent word = Local(0, 8);
  EXPECT_EQ(Run({.operation = Operation::kCompareAndSwap,
                 .local = {&word, 1},
                 .remote = remote(write_only)}),
            Completion::kRemoteAccessError);
  EXPECT_TRUE(Holds(*remote_, before));
  EXPECT_EQ(Run(Operation::kRead, Local(0, 100), remote(write_only)),
            Completion::kRemoteAccessError);
  EXPECT_EQ(Run(Operation::kRead, Local(0, 100), remote(read_only)), Completion::kSuccess);

  // What is only read locally may be sent, but nothing may arrive in it.
  const std::vector<std::byte> unread = Copy(*local_);
  const LocalExtent from{local_->data(), 100, source.keys[0].lkey};
  EXPECT_EQ(Run(Operation::kRead, from, Remote(0)), Completion::kLocalProtectionError);
  EXPECT_TRUE(Holds(*local_, unread));
  EXPECT_EQ(Run(Operation::kWrite, from, Remote(0)), Completion::kSuccess);
  for (Registration* mr : {&read_only, &write_only, &source}) Deregister(*mr);
}

TEST_F(TransportTest, AKeyIsDeadAfterDeregistration) {
  Registration local = Register(local_->range(), Access::kLocalWrite);
  Registration remote = Register(remote_->range(), kRemoteAll);
  const LocalExtent from{local_->data(), 4097, local.keys[0].lkey};
  const RemoteExtent to{remote_->address(), remote.keys[0].rkey};
  EXPECT_EQ(Run(Operation::kWrite, from, to), Completion::kSuccess);
  Deregister(local);
  Deregister(remote);

  local_->Fill(++seed_);
  const std::vector<std::byte> before = Copy(*remote_);
  for (const Operation operation : {Operation::kWrite, Operation::kRead}) {
    EXPECT_EQ(Run(operation, from, Remote(0)), Completion::kLocalProtectionError);
    EXPECT_EQ(Run(operation, Local(0, 4097), to), Completion::kRemoteAccessError);
  }
  EXPECT_TRUE(Holds(*remote_, before));
  ExpectWorks();
}

TEST_F(TransportTest, AFailureFlushesWhatStandsBehindItAndNothingBefore) {
  const LocalExtent good = Local(0, 1000);
  const RemoteExtent bad{remote_->address(), remote_mr_.keys[0].rkey ^ 0xff};
  for (int round = 0; round < 20; ++round) {
    local_->Fill(++seed_);
    const auto post = [&](RemoteExtent remote) {
      const absl::Status status =
          transport_->Post({.operation = Operation::kWrite, .local = {&good, 1}, .remote = remote});
      ASSERT_TRUE(status.ok()) << status;
    };
    post(Remote(0));
    post(Remote(2000));
    post(bad);
    post(Remote(4000));
    post(Remote(6000));
    ASSERT_EQ(transport_->outstanding(), 5u);
    EXPECT_EQ(transport_->Poll().value_or(Completion::kGeneralError), Completion::kSuccess);
    EXPECT_EQ(transport_->Poll().value_or(Completion::kGeneralError), Completion::kSuccess);
    EXPECT_EQ(transport_->outstanding(), 3u);
    EXPECT_EQ(transport_->Poll().value_or(Completion::kSuccess), Completion::kRemoteAccessError);
    EXPECT_EQ(transport_->outstanding(), 0u);
    EXPECT_EQ(std::memcmp(local_->data(), remote_->data(), 1000), 0);
    EXPECT_EQ(std::memcmp(local_->data(), remote_->data() + 2000, 1000), 0);
    ExpectWorks();
  }
}

TEST_F(TransportTest, AFailureIsToldInItsTurnAlthoughPostedInAStream) {
  const LocalExtent good = Local(0, 64);
  const RemoteExtent bad{remote_->address(), remote_mr_.keys[0].rkey ^ 0xff};
  // Enough behind the failure for its completion to have come before the last of them is posted.
  for (std::size_t i = 0; i < transport_->depth(); ++i) {
    const absl::Status status = transport_->Post({.operation = Operation::kWrite,
                                                  .local = {&good, 1},
                                                  .remote = i == 3 ? bad : Remote(64 * i)});
    ASSERT_TRUE(status.ok()) << status;
  }
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(transport_->Poll().value_or(Completion::kGeneralError), Completion::kSuccess) << i;
  }
  EXPECT_EQ(transport_->Poll().value_or(Completion::kSuccess), Completion::kRemoteAccessError);
  EXPECT_EQ(transport_->outstanding(), 0u);
  ExpectWorks();
}

TEST_F(TransportTest, KeepsAsManyOutstandingAsItSays) {
  const std::size_t depth = transport_->depth();
  const std::size_t piece = kBytes / depth;
  for (int round = 0; round < 10; ++round) {
    local_->Fill(++seed_);
    std::vector<LocalExtent> extents(depth);
    for (std::size_t i = 0; i < depth; ++i) {
      // Backwards, so that a transfer in the wrong place shows.
      extents[i] = Local((depth - 1 - i) * piece, piece);
      const absl::Status status = transport_->Post(
          {.operation = Operation::kWrite, .local = {&extents[i], 1}, .remote = Remote(i * piece)});
      ASSERT_TRUE(status.ok()) << status;
    }
    const absl::Status beyond = transport_->Post(
        {.operation = Operation::kWrite, .local = {extents.data(), 1}, .remote = Remote(0)});
    EXPECT_TRUE(absl::IsFailedPrecondition(beyond)) << beyond;
    EXPECT_TRUE(absl::IsFailedPrecondition(transport_->Run({}).status()));
    for (std::size_t i = 0; i < depth; ++i) {
      ASSERT_EQ(transport_->Poll().value_or(Completion::kGeneralError), Completion::kSuccess);
      ASSERT_EQ(std::memcmp(extents[i].address, remote_->data() + i * piece, piece), 0) << i;
    }
    EXPECT_EQ(transport_->outstanding(), 0u);
  }
}

TEST_F(TransportTest, TransfersOfManyExtentsFillTheQueueManyTimesOver) {
  constexpr std::size_t kExtents = 100;
  constexpr std::size_t kLength = 16;
  const std::size_t count = std::min(transport_->depth(), kBytes / (kExtents * kLength));
  std::vector<std::vector<LocalExtent>> lists(count);
  for (int round = 0; round < 3; ++round) {
    local_->Fill(++seed_);
    std::size_t posted = 0;
    for (auto& list : lists) {
      list.clear();
      for (std::size_t i = 0; i < kExtents; ++i) {
        list.push_back(Local((posted * kExtents + i) * kLength, kLength));
      }
      const absl::Status status = transport_->Post({.operation = Operation::kWrite,
                                                    .local = list,
                                                    .remote = Remote(posted * kExtents * kLength)});
      ASSERT_TRUE(status.ok()) << status;
      ++posted;
    }
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_EQ(transport_->Poll().value_or(Completion::kGeneralError), Completion::kSuccess);
    }
    ASSERT_EQ(std::memcmp(local_->data(), remote_->data(), count * kExtents * kLength), 0);
  }
}

TEST_F(TransportTest, PollWithNothingOutstandingSaysSo) {
  EXPECT_TRUE(absl::IsFailedPrecondition(transport_->Poll().status()));
  ExpectWorks();
}

// Writes through a transport of its own, round by round, into its half of the remote memory.
void WriteHalf(Transport& transport, const LocalExtent& from, RemoteExtent to, int rounds,
               std::vector<Completion>& completions) {
  for (int round = 0; round < rounds; ++round) {
    const auto completion =
        transport.Run({.operation = Operation::kWrite, .local = {&from, 1}, .remote = to});
    completions.push_back(completion.value_or(Completion::kGeneralError));
  }
}

TEST_F(TransportTest, TwoTransportsWorkAtOnceAndOnesFailureIsNotTheOthers) {
  const auto second = Connect();
  ASSERT_NE(second, nullptr);
  constexpr std::size_t kHalf = kBytes / 2;
  constexpr int kRounds = 50;
  const LocalExtent halves[] = {Local(0, kHalf), Local(kHalf, kHalf)};
  std::vector<Completion> good;
  std::vector<Completion> bad;
  const RemoteExtent dead{remote_->address(), remote_mr_.keys[0].rkey ^ 0xff};
  std::thread failing([&] { WriteHalf(*second, halves[1], dead, kRounds, bad); });
  WriteHalf(*transport_, halves[0], Remote(0), kRounds, good);
  failing.join();
  EXPECT_EQ(good, std::vector<Completion>(kRounds, Completion::kSuccess));
  EXPECT_EQ(bad, std::vector<Completion>(kRounds, Completion::kRemoteAccessError));

  std::vector<Completion> both[2];
  std::thread other([&] { WriteHalf(*second, halves[1], Remote(kHalf), kRounds, both[1]); });
  WriteHalf(*transport_, halves[0], Remote(0), kRounds, both[0]);
  other.join();
  for (const auto& completions : both) {
    EXPECT_EQ(completions, std::vector<Completion>(kRounds, Completion::kSuccess));
  }
  EXPECT_EQ(std::memcmp(local_->data(), remote_->data(), kBytes), 0);
}

TEST_F(DeviceTest, TheRegistrarKeepsTheDeviceOpen) {
  auto opened = OpenDevice(TestDeviceName());
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::shared_ptr<Registrar> registrar = (*opened)->registrar();
  opened->reset();
  TestMemory memory(kBytes);
  auto registration = registrar->Register(memory.range(), kRemoteAll);
  ASSERT_TRUE(registration.ok()) << registration.status();
  EXPECT_TRUE(registrar->Deregister(*registration).ok());
}

TEST_F(DeviceTest, ATransportKeepsTheDeviceOpen) {
  auto opened = OpenDevice(TestDeviceName());
  ASSERT_TRUE(opened.ok()) << opened.status();
  auto transport = (*opened)->Connect();
  ASSERT_TRUE(transport.ok()) << transport.status();
  opened->reset();
  TestMemory memory(kBytes);
  auto registration = (*transport)->registrar()->Register(memory.range(), kRemoteAll);
  ASSERT_TRUE(registration.ok()) << registration.status();
  const RegistrationKeys keys = registration->keys[0];
  memory.Fill(7);
  const LocalExtent first{memory.data(), 4096, keys.lkey};
  EXPECT_EQ((*transport)
                ->Run({.operation = Operation::kWrite,
                       .local = {&first, 1},
                       .remote = {memory.address() + 8192, keys.rkey}})
                .value_or(Completion::kGeneralError),
            Completion::kSuccess);
  EXPECT_EQ(std::memcmp(memory.data(), memory.data() + 8192, 4096), 0);
  EXPECT_TRUE((*transport)->registrar()->Deregister(*registration).ok());
}

TEST_F(DeviceTest, AnUnknownDeviceIsNotFoundAndTheOthersAreNamed) {
  const absl::Status status = OpenDevice("no-such-device").status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("no-such-device"));
  EXPECT_THAT(message, HasSubstr("loopback"));
  EXPECT_THAT(message, HasSubstr(TestDeviceName()));
}

TEST_F(DeviceTest, TheBestDeviceIsTheRdmaDeviceWhereThereIsOne) {
  const auto best = OpenDevice("");
  ASSERT_TRUE(best.ok()) << best.status();
  if (TestDeviceName() != "loopback") {
    EXPECT_NE((*best)->name(), "loopback");
  }
  EXPECT_TRUE((*best)->Connect().ok());
}

}  // namespace
}  // namespace linchpin
