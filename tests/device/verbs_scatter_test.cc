// Work requests made of scatter lists, posted to an RDMA device as FillWorkRequests left them: one
// call of ibv_post_send, one completion, and the bytes where they belong. Skipped on loopback.
#include <infiniband/verbs.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "apps/transport/device_list.h"
#include "apps/transport/verbs_connection.h"
#include "apps/transport/verbs_context.h"
#include "linchpin/cache.h"
#include "linchpin/scatter_list.h"
#include "linchpin/verbs.h"
#include "tests/device/courier.h"
#include "tests/device/test_device.h"
#include "tests/testing/memory.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {
namespace {

constexpr std::size_t kPieces = 24;
constexpr std::size_t kStride = 2 * kPage;
constexpr std::size_t kSlots = 64;
constexpr std::uint64_t kId = 4711;

class VerbsScatter : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = TestDeviceName();
    if (name == "loopback") GTEST_SKIP() << "the device under test is no RDMA device";
    Open(name);
    ASSERT_NE(context_, nullptr);
    auto registrar = VerbsRegistrar::Create(context_->pd.get());
    ASSERT_TRUE(registrar.ok()) << registrar.status();
    registrar_ = *std::move(registrar);
    auto cache = RegistrationCache::Create(registrar_, {});
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
    auto connection = VerbsConnection::Create(context_, kSlots);
    ASSERT_TRUE(connection.ok()) << connection.status();
    connection_ = *std::move(connection);
    auto made = registrar_->Register({remote_.start(), remote_.start() + remote_.size()},
                                     kRemoteRights | Access::kLocalWrite);
    ASSERT_TRUE(made.ok()) << made.status();
    remote_mr_ = *std::move(made);
  }

  void TearDown() override {
    connection_ = nullptr;  // Before what its requests may reach.
    if (remote_mr_.handle != 0) {
      EXPECT_TRUE(registrar_->Deregister(remote_mr_).ok());
    }
    if (cache_ != nullptr) {
      EXPECT_TRUE(cache_->Close(absl::Seconds(30)).ok());
    }
  }

  void Open(const std::string& name) {
    const DeviceList list;
    for (ibv_device* const device : list.all()) {
      if (name != ibv_get_device_name(device)) continue;
      auto context = VerbsContext::Open(device);
      EXPECT_TRUE(context.ok()) << context.status();
      if (context.ok()) context_ = *std::move(context);
    }
  }

  // Odd lengths at odd addresses, leased.
  ScatterList Pieces(TransferDirection direction) {
    ScatterList list(direction);
    for (std::size_t i = 0; i < kPieces; ++i) {
      char* const at = local_.data() + i * kStride + 13 * i;
      const absl::Status added = list.AddRange(*cache_, at, 100 + 37 * i, Access::kLocalWrite);
      EXPECT_TRUE(added.ok()) << added;
    }
    return list;
  }

  static std::string BytesOf(const ScatterList& list) {
    std::string bytes;
    for (const ibv_sge& element : list.elements()) {
      bytes.append(reinterpret_cast<const char*>(element.addr), element.length);
    }
    return bytes;
  }

  static void Write(const Mapped& memory, std::uint64_t seed) {
    const std::string bytes = Pattern(seed, memory.size());
    std::memcpy(memory.data(), bytes.data(), bytes.size());
  }

  // Posts the list against the remote memory. Returns: the one completion of it all.
  ibv_wc Carry(const ScatterList& list, ibv_wr_opcode opcode, std::size_t max_elements) {
    ibv_send_wr model{};
    model.wr_id = kId;
    model.opcode = opcode;
    model.send_flags = IBV_SEND_SIGNALED;
    model.wr.rdma = {.remote_addr = remote_.start(), .rkey = remote_mr_.keys[0].rkey};
    std::vector<ibv_send_wr> requests(kSlots);
    const RunLimits limits{max_elements, connection_->request_limits().bytes};
    const auto filled = FillWorkRequests(list, limits, model, requests);
    EXPECT_TRUE(filled.ok()) << filled.status();
    if (!filled.ok()) return {};
    EXPECT_EQ(*filled, (list.size() + max_elements - 1) / max_elements);
    ibv_send_wr* bad = nullptr;
    EXPECT_EQ(ibv_post_send(connection_->requester(), requests.data(), &bad), 0);
    return Completed();
  }

  ibv_wc Completed() {
    ibv_wc completion{};
    EXPECT_TRUE(WaitFor("a completion", [&] {
      return ibv_poll_cq(connection_->completions(), 1, &completion) != 0;
    }));
    ibv_wc another{};
    EXPECT_EQ(ibv_poll_cq(connection_->completions(), 1, &another), 0);
    return completion;
  }

  std::size_t MostElements() const { return connection_->request_limits().extents; }

  const Mapped local_{kPieces * kStride};
  const Mapped remote_{kPieces * kStride};
  std::shared_ptr<const VerbsContext> context_;
  std::shared_ptr<Registrar> registrar_;
  std::unique_ptr<RegistrationCache> cache_;
  std::unique_ptr<VerbsConnection> connection_;
  Registration remote_mr_;
};

TEST_F(VerbsScatter, AChainOfRequestsIsOneWrite) {
  for (const std::size_t elements : {std::size_t{1}, std::size_t{5}, MostElements()}) {
    SCOPED_TRACE(elements);
    Write(local_, elements);
    Write(remote_, 100 + elements);
    ScatterList list = Pieces(TransferDirection::kDeviceReads);
    const std::string sent = BytesOf(list);
    const ibv_wc completion = Carry(list, IBV_WR_RDMA_WRITE, elements);
    ASSERT_EQ(completion.status, IBV_WC_SUCCESS) << ibv_wc_status_str(completion.status);
    EXPECT_EQ(completion.wr_id, kId);
    EXPECT_EQ(std::string(remote_.data(), sent.size()), sent);
    EXPECT_EQ(std::string(remote_.data() + sent.size(), 64),
              Pattern(100 + elements, remote_.size()).substr(sent.size(), 64));
    EXPECT_TRUE(list.Release().ok());
  }
}

TEST_F(VerbsScatter, AndOneRead) {
  for (const std::size_t elements : {std::size_t{1}, std::size_t{5}, MostElements()}) {
    SCOPED_TRACE(elements);
    Write(local_, elements);
    Write(remote_, 100 + elements);
    ScatterList list = Pieces(TransferDirection::kDeviceWrites);
    const ibv_wc completion = Carry(list, IBV_WR_RDMA_READ, elements);
    ASSERT_EQ(completion.status, IBV_WC_SUCCESS) << ibv_wc_status_str(completion.status);
    EXPECT_EQ(BytesOf(list), std::string(remote_.data(), list.total_bytes()));
    EXPECT_TRUE(list.Release().ok());
  }
}

TEST_F(VerbsScatter, APartOfASplitListGoesToItsPlace) {
  Write(local_, 1);
  Write(remote_, 2);
  ScatterList list = Pieces(TransferDirection::kDeviceReads);
  const auto own =
      registrar_->Register({local_.start(), local_.start() + kPage}, Access::kLocalRead);
  ASSERT_TRUE(own.ok()) << own.status();
  ASSERT_TRUE(list.AddBorrowed(local_.data() + 5, 1000, own->keys[0].lkey).ok());
  const std::string sent = BytesOf(list);
  auto lists = list.SplitByProvenance();
  ASSERT_TRUE(lists.ok());
  ASSERT_EQ(lists->size(), 2u);
  for (auto part = lists->rbegin(); part != lists->rend(); ++part) {
    EXPECT_EQ(Carry(*part, IBV_WR_RDMA_WRITE, 3).status, IBV_WC_SUCCESS);
  }
  EXPECT_EQ(std::string(remote_.data(), sent.size()), sent);
  EXPECT_TRUE(ReleaseAll(*lists).ok());
  Registration mine = *own;
  EXPECT_TRUE(registrar_->Deregister(mine).ok());
}

}  // namespace
}  // namespace linchpin::testing
