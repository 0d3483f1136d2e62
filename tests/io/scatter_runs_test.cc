// Lists in parts: runs of what a work request can carry, work requests made of them, and lists of
// one provenance each.
#include <sys/mman.h>

#include <array>
#include <utility>
#include <vector>

#include "tests/io/fixture.h"

namespace linchpin::testing {
namespace {

class ScatterRunsTest : public ScatterFixture {
 protected:
  // Borrowed elements of these lengths, far apart.
  static ScatterList OfLengths(const std::vector<std::size_t>& lengths) {
    ScatterList list(kReads);
    std::uintptr_t at = std::uintptr_t{1} << 40;
    for (const std::size_t length : lengths) {
      EXPECT_TRUE(list.AddBorrowed(reinterpret_cast<void*>(at), length, 9).ok());
      at += std::uintptr_t{1} << 40;
    }
    return list;
  }

  // The bytes of each run; checks that the runs are the list, one after another.
  static std::vector<std::uint64_t> BytesOfRuns(const ScatterList& list, const RunLimits& limits) {
    std::vector<std::uint64_t> bytes;
    const ibv_sge* next = list.elements().data();
    std::uint64_t offset = list.byte_offset();
    for (const ScatterRun& run : list.Runs(limits)) {
      EXPECT_EQ(run.elements, next);
      EXPECT_EQ(run.offset, offset);
      std::uint64_t sum = 0;
      for (std::uint32_t i = 0; i < run.count; ++i) sum += run.elements[i].length;
      EXPECT_EQ(run.bytes, sum);
      next += run.count;
      offset += sum;
      bytes.push_back(sum);
    }
    EXPECT_EQ(next, list.elements().data() + list.size());
    EXPECT_EQ(offset, list.byte_offset() + list.total_bytes());
    return bytes;
  }

  using Bytes = std::vector<std::uint64_t>;
};

TEST_F(ScatterRunsTest, HoldAsManyElementsAsARequestTakes) {
  const ScatterList list = OfLengths({1, 2, 4, 8, 16});
  EXPECT_EQ(BytesOfRuns(list, {.max_elements = 1}), (Bytes{1, 2, 4, 8, 16}));
  EXPECT_EQ(BytesOfRuns(list, {.max_elements = 2}), (Bytes{3, 12, 16}));
  EXPECT_EQ(BytesOfRuns(list, {.max_elements = 5}), (Bytes{31}));
  EXPECT_EQ(BytesOfRuns(list, {.max_elements = 100}), (Bytes{31}));
  EXPECT_EQ(BytesOfRuns(list, {.max_elements = 0}), (Bytes{1, 2, 4, 8, 16}));
}

TEST_F(ScatterRunsTest, AndAsManyBytes) {
  const ScatterList list = OfLengths({10, 10, 5, 100, 1});
  EXPECT_EQ(BytesOfRuns(list, {.max_elements = 9, .max_bytes = 25}), (Bytes{25, 100, 1}));
  const std::size_t gib = std::size_t{1} << 30;
  EXPECT_EQ(BytesOfRuns(OfLengths({5 * gib}), {.max_elements = 30}),
            (Bytes{2 * gib, 2 * gib, gib}));
}

TEST_F(ScatterRunsTest, AnEmptyListHasNone) {
  EXPECT_TRUE(BytesOfRuns(OfLengths({}), {.max_elements = 4}).empty());
}

TEST_F(ScatterRunsTest, AListSplitsWhereTheProvenanceChanges) {
  const Borrowed kept = Register(memory_.data(), kPage);
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), 10, 999).ok());
  ASSERT_TRUE(list.AddBorrowed(memory_.data() + 20, 10, kept.lkey).ok());
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data() + kPage, 100, kRead).ok());
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data() + 2 * kPage, 100, kRead).ok());
  ASSERT_TRUE(list.AddBorrowed(memory_.data() + 40, 10, kept.lkey).ok());
  ASSERT_TRUE(list.AddBorrowed(memory_.data() + 60, 10, kept.lkey).ok());
  ASSERT_EQ(*list.AdoptAll(kept.lkey, kept.keeper), 3u);
  const auto before = Describe(list);

  auto lists = list.SplitByProvenance();
  ASSERT_TRUE(lists.ok());
  ASSERT_EQ(lists->size(), 4u);
  std::vector<std::string> after;
  std::uint64_t offset = 0;
  for (const ScatterList& part : *lists) {
    EXPECT_EQ(part.byte_offset(), offset);
    offset += part.total_bytes();
    for (std::size_t i = 0; i < part.size(); ++i) {
      EXPECT_EQ(part.provenance(i), part.provenance(0));
      after.push_back(Describe(part, i));
    }
    BytesOfRuns(part, {.max_elements = 2});
  }
  EXPECT_EQ(after, before);
  EXPECT_EQ(leases(), 2u);

  lists->erase(lists->begin() + 2);  // Each can go by itself.
  EXPECT_EQ(leases(), 0u);
  EXPECT_EQ(kept.keeper.use_count(), 1 + 2) << "a count for each of the others";
  ASSERT_TRUE(ReleaseAll(*lists).ok());
  EXPECT_EQ(leases(), 0u);
  EXPECT_EQ(kept.keeper.use_count(), 1);
}

TEST_F(ScatterRunsTest, AListOfOneProvenanceIsNotSplit) {
  ScatterList list = OfLengths({1, std::size_t{3} << 30, 5});
  const auto before = Describe(list);
  auto lists = list.SplitByProvenance();
  ASSERT_TRUE(lists.ok());
  ASSERT_EQ(lists->size(), 1u);
  EXPECT_EQ(Describe(lists->front()), before);
  list.Reset();
  EXPECT_TRUE(list.SplitByProvenance()->empty());
}

// Elements that share a lease go on sharing it.
TEST_F(ScatterRunsTest, ALeaseOfSeveralElementsStaysOne) {
  Make({.monitor = std::make_shared<ManualMonitor>()});
  constexpr std::size_t kBytes = std::size_t{3} << 30;
  void* const large = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(large, MAP_FAILED);
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddRange(*cache_, large, kBytes, kRead).ok());
  ASSERT_GT(list.size(), 1u);
  EXPECT_EQ(list.owner(0), list.owner(1));
  EXPECT_EQ(leases(), 1u);
  auto lists = list.SplitByProvenance();
  ASSERT_TRUE(lists.ok());
  ASSERT_EQ(lists->size(), 1u);
  EXPECT_EQ(lists->front().owner(0), lists->front().owner(1));
  EXPECT_EQ(leases(), 1u);
  ASSERT_TRUE(ReleaseAll(*lists).ok());
  EXPECT_EQ(leases(), 0u);
  munmap(large, kBytes);
}

TEST_F(ScatterRunsTest, BytesWrittenAreOfTheWholeTransfer) {
  const auto dirty_after = [&](std::uint64_t bytes) {
    const VaddrPin pin = Pin(memory_.data(), 4 * kPage);
    ScatterList list(kWrites);
    EXPECT_TRUE(list.AddBorrowed(memory_.data(), 100, pin.lkey()).ok());
    EXPECT_TRUE(list.AddBorrowed(memory_.data() + kPage, 100, 1).ok());
    EXPECT_TRUE(list.AddBorrowed(memory_.data() + 2 * kPage, 100, pin.lkey()).ok());
    EXPECT_TRUE(list.Adopt(0, pin.Ref()).ok());
    EXPECT_TRUE(list.Adopt(2, pin.Ref()).ok());
    auto lists = list.SplitByProvenance();
    EXPECT_TRUE(pin.dirty().empty()) << "nothing has been released";
    EXPECT_TRUE(ReleaseAll(*lists, bytes).ok());
    std::size_t dirty = 0;
    for (const Range& range : pin.dirty()) dirty += range.size();
    return dirty;
  };
  EXPECT_EQ(dirty_after(0), 0u);
  EXPECT_EQ(dirty_after(50), 50u);
  EXPECT_EQ(dirty_after(150), 100u);
  EXPECT_EQ(dirty_after(201), 101u);
  EXPECT_EQ(dirty_after(ScatterList::kAllBytes), 200u);
}

class ScatterRequests : public ScatterRunsTest {
 protected:
  static ibv_send_wr Model(ibv_wr_opcode opcode) {
    ibv_send_wr model{};
    model.wr_id = 77;
    model.opcode = opcode;
    model.send_flags = IBV_SEND_SIGNALED | IBV_SEND_FENCE;
    model.imm_data = 5;
    model.wr.rdma = {.remote_addr = 1000, .rkey = 3};
    return model;
  }

  std::array<ibv_send_wr, 4> requests_{};
};

TEST_F(ScatterRequests, AreChainedInTheOrderOfTheBytes) {
  const ScatterList list = OfLengths({1, 2, 4, 8, 16});
  ibv_send_wr after{};
  ibv_send_wr model = Model(IBV_WR_RDMA_WRITE_WITH_IMM);
  model.next = &after;
  const auto count = FillWorkRequests(list, {.max_elements = 2}, model, requests_);
  ASSERT_TRUE(count.ok()) << count.status();
  ASSERT_EQ(*count, 3u);
  const std::uint64_t remote[] = {1000, 1003, 1015};
  const ibv_sge* next = list.elements().data();
  for (std::size_t i = 0; i < 3; ++i) {
    const ibv_send_wr& request = requests_[i];
    const bool last = i == 2;
    EXPECT_EQ(request.wr_id, 77u);
    EXPECT_EQ(request.next, last ? &after : &requests_[i + 1]);
    EXPECT_EQ(request.sg_list, next);
    EXPECT_EQ(request.num_sge, last ? 1 : 2);
    EXPECT_EQ(request.wr.rdma.remote_addr, remote[i]);
    EXPECT_EQ(request.wr.rdma.rkey, 3u);
    EXPECT_EQ(request.opcode, last ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE);
    EXPECT_EQ(request.send_flags & IBV_SEND_SIGNALED, last ? unsigned{IBV_SEND_SIGNALED} : 0u);
    EXPECT_NE(request.send_flags & IBV_SEND_FENCE, 0u);
    next += request.num_sge;
  }
}

TEST_F(ScatterRequests, OfAPartReachItsPlaceInTheTransfer) {
  ScatterList list = OfLengths({100, 7});
  ASSERT_TRUE(list.Adopt(1, std::make_shared<int>(1)).ok());
  auto lists = list.SplitByProvenance();
  ASSERT_TRUE(lists.ok());
  ASSERT_EQ(lists->size(), 2u);
  ASSERT_EQ(*FillWorkRequests((*lists)[1], {}, Model(IBV_WR_RDMA_READ), requests_), 1u);
  EXPECT_EQ(requests_[0].wr.rdma.remote_addr, 1100u);
  EXPECT_EQ(requests_[0].next, nullptr);
}

TEST_F(ScatterRequests, AreRefusedWhereTheyWouldNotBeTheTransfer) {
  const ScatterList list = OfLengths({1, 2, 4, 8, 16});
  const auto refused = [&](const ScatterList& some, std::size_t sge, ibv_wr_opcode opcode) {
    const auto count = FillWorkRequests(some, {.max_elements = sge}, Model(opcode), requests_);
    return absl::IsInvalidArgument(count.status());
  };
  EXPECT_TRUE(refused(list, 1, IBV_WR_RDMA_WRITE)) << "five, and there are four";
  EXPECT_TRUE(refused(list, 2, IBV_WR_SEND)) << "three messages";
  EXPECT_FALSE(refused(list, 5, IBV_WR_SEND_WITH_IMM));
  EXPECT_TRUE(refused(list, 5, IBV_WR_ATOMIC_CMP_AND_SWP));
  EXPECT_TRUE(refused(OfLengths({}), 5, IBV_WR_SEND));
}

}  // namespace
}  // namespace linchpin::testing
