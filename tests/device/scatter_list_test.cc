// Lists of mixed provenance, carried by the device of LINCHPIN_TEST_DEVICE: the bytes are those of
// the elements in their order, in either direction, with long and short lists, in parts and whole.
#include "linchpin/scatter_list.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

#include "apps/transport/scatter.h"
#include "linchpin/pin.h"
#include "tests/device/fixture.h"

namespace linchpin::testing {
namespace {

constexpr std::size_t kPieces = 24;
constexpr std::size_t kStride = 2 * kPage;

class ScatterDevice : public DeviceFixture {
 protected:
  void SetUp() override {
    DeviceFixture::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    transport_ = *device_->Connect();
    remote_mr_ = Register(remote_, kRemoteRights | Access::kLocalWrite);
    own_mr_ = Register(own_, Access::kLocalWrite);
  }

  void TearDown() override {
    for (Registration* mr : {&remote_mr_, &own_mr_}) {
      if (mr->handle == 0) continue;
      EXPECT_TRUE(device_->registrar()->Deregister(*mr).ok());
    }
    if (cache_ == nullptr) return;
    EXPECT_TRUE(cache_->Close(absl::Seconds(30)).ok());
  }

  Registration Register(const Mapped& memory, Access access) {
    auto made =
        device_->registrar()->Register({memory.start(), memory.start() + memory.size()}, access);
    EXPECT_TRUE(made.ok()) << made.status();
    Registration none;
    none.keys.emplace_back();
    return made.ok() ? *std::move(made) : none;
  }

  // Odd lengths at odd addresses, of each provenance in turn; all of them of writable memory.
  void Fill(ScatterList& list) {
    for (std::size_t i = 0; i < kPieces; ++i) {
      const Mapped& memory = i % 4 == 0 ? leased_ : own_;
      char* const at = memory.data() + i * kStride + 13 * i;
      const std::size_t length = 100 + 37 * i;
      const std::size_t index = list.size();
      absl::Status added = i % 4 == 0
                               ? list.AddRange(*cache_, at, length, kWrite)
                               : list.AddBorrowed(at, length, i % 4 == 3 ? pin_.lkey() : OwnKey());
      if (i % 4 == 2) added.Update(list.Adopt(index, keeper_));
      if (i % 4 == 3) added.Update(list.Adopt(index, pin_.Ref()));
      ASSERT_TRUE(added.ok()) << added;
    }
  }
  std::uint32_t OwnKey() const { return own_mr_.keys[0].lkey; }

  static std::string BytesOf(const ScatterList& list) {
    std::vector<LocalExtent> extents;
    CopyExtents(list, extents);
    std::string bytes;
    for (const LocalExtent& extent : extents) {
      bytes.append(static_cast<const char*>(extent.address), extent.length);
    }
    return bytes;
  }

  // Carries `list` to or from its place in the remote memory.
  void Carry(Operation operation, const ScatterList& list) {
    std::vector<LocalExtent> extents;
    CopyExtents(list, extents);
    const RemoteExtent remote{remote_.start() + list.byte_offset(), remote_mr_.keys[0].rkey};
    const auto done = transport_->Run({.operation = operation, .local = extents, .remote = remote});
    ASSERT_TRUE(done.ok()) << done.status();
    ASSERT_EQ(*done, Completion::kSuccess);
  }

  void Write(const Mapped& memory, std::uint64_t seed) {
    const std::string bytes = Pattern(seed, memory.size());
    std::memcpy(memory.data(), bytes.data(), bytes.size());
  }

  const Mapped own_{kPieces * kStride};
  const Mapped leased_{kPieces * kStride};
  const Mapped remote_{kPieces * kStride};
  std::unique_ptr<Transport> transport_;
  Registration own_mr_;
  Registration remote_mr_;
  VaddrPin pin_;
  std::shared_ptr<const void> keeper_ = std::make_shared<int>(1);

  void MakePin() {
    PinRequest request;
    request.range = {own_.start(), own_.start() + own_.size()};
    request.rights = kWrite;
    auto pin = PinVaddr(device_->registrar(), request);
    ASSERT_TRUE(pin.ok()) << pin.status();
    pin_ = *std::move(pin);
  }
};

TEST_F(ScatterDevice, GathersWhatItReads) {
  MakePin();
  Write(own_, 1);
  Write(leased_, 2);
  Write(remote_, 3);
  ScatterList list(TransferDirection::kDeviceReads);
  Fill(list);
  const std::string sent = BytesOf(list);
  ASSERT_EQ(sent.size(), list.total_bytes());
  Carry(Operation::kWrite, list);
  EXPECT_EQ(std::string(remote_.data(), sent.size()), sent);
  EXPECT_EQ(std::string(remote_.data() + sent.size(), 64),
            Pattern(3, remote_.size()).substr(sent.size(), 64));
  ASSERT_TRUE(list.Release().ok());
  EXPECT_TRUE(pin_.dirty().empty());
}

TEST_F(ScatterDevice, ScattersWhatItWrites) {
  MakePin();
  Write(own_, 1);
  Write(leased_, 2);
  Write(remote_, 3);
  ScatterList list(TransferDirection::kDeviceWrites);
  Fill(list);
  Carry(Operation::kRead, list);
  EXPECT_EQ(BytesOf(list), std::string(remote_.data(), list.total_bytes()));
  ASSERT_TRUE(list.Release().ok());
  EXPECT_EQ(pin_.dirty().size(), kPieces / 4);
}

TEST_F(ScatterDevice, TheListsOfASplitAreTheSameTransfer) {
  MakePin();
  Write(own_, 1);
  Write(leased_, 2);
  Write(remote_, 3);
  ScatterList list(TransferDirection::kDeviceReads);
  Fill(list);
  const std::string sent = BytesOf(list);
  auto lists = list.SplitByProvenance();
  ASSERT_TRUE(lists.ok());
  EXPECT_EQ(lists->size(), kPieces);
  for (auto part = lists->rbegin(); part != lists->rend(); ++part) Carry(Operation::kWrite, *part);
  EXPECT_EQ(std::string(remote_.data(), sent.size()), sent);
  ASSERT_TRUE(ReleaseAll(*lists).ok());
  EXPECT_EQ(cache_->stats().leases, 0u);
}

TEST_F(ScatterDevice, ARangeOfSeveralMappings) {
  constexpr int kShared = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;
  char* const middle = leased_.data() + 8 * kPage;
  ASSERT_EQ(mmap(middle, 4 * kPage, PROT_READ | PROT_WRITE, kShared, -1, 0), middle);
  Write(leased_, 2);
  ScatterList list(TransferDirection::kDeviceReads);
  const absl::Status added = list.AddRange(*cache_, leased_.data() + 7, leased_.size() - 9, kRead);
  ASSERT_TRUE(added.ok()) << added;
  const std::string sent = BytesOf(list);
  EXPECT_EQ(sent, Pattern(2, leased_.size()).substr(7, leased_.size() - 9));
  Carry(Operation::kWrite, list);
  EXPECT_EQ(std::string(remote_.data(), sent.size()), sent);
  ASSERT_TRUE(list.Release().ok());
}

}  // namespace
}  // namespace linchpin::testing
