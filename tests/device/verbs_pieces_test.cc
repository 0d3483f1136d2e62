// How a long transfer is cut into work requests, and how an RDMA port and its answers are read. All
// of it without a device.
#include "apps/transport/verbs_pieces.h"

#include <cstring>
#include <vector>

#include "gtest/gtest.h"

#include "apps/transport/verbs_completion.h"
#include "apps/transport/verbs_port.h"

namespace linchpin {
namespace {

// Address, length and key of each extent, in one line a piece.
std::vector<std::string> Cut(const std::vector<LocalExtent>& local, RequestLimits limits) {
  const Transfer transfer{
      .operation = Operation::kWrite, .local = local, .remote = {.address = 5000, .rkey = 1}};
  std::vector<std::string> lines;
  for (Pieces pieces(transfer, limits); pieces.more();) {
    Piece piece;
    pieces.Next(piece);
    std::string line = std::to_string(piece.remote_address) + ":";
    for (int i = 0; i < piece.count; ++i) {
      const ibv_sge& extent = piece.extents[static_cast<std::size_t>(i)];
      line += " " + std::to_string(extent.addr) + "+" + std::to_string(extent.length) + "/" +
              std::to_string(extent.lkey);
    }
    lines.push_back(line);
  }
  return lines;
}

LocalExtent Extent(std::uintptr_t address, std::size_t length, std::uint32_t lkey) {
  return {reinterpret_cast<const void*>(address), length, lkey};
}

using Lines = std::vector<std::string>;

TEST(Pieces, AShortTransferIsOnePiece) {
  EXPECT_EQ(Cut({Extent(100, 10, 7), Extent(200, 20, 8)}, {.extents = 2, .bytes = 30}),
            (Lines{"5000: 100+10/7 200+20/8"}));
}

TEST(Pieces, NoPieceHasMoreExtentsThanTheDeviceTakes) {
  EXPECT_EQ(Cut({Extent(100, 10, 7), Extent(200, 20, 8), Extent(300, 5, 9)},
                {.extents = 2, .bytes = 1000}),
            (Lines{"5000: 100+10/7 200+20/8", "5030: 300+5/9"}));
}

TEST(Pieces, NoPieceHasMoreBytesThanTheDeviceTakes) {
  EXPECT_EQ(Cut({Extent(100, 10, 7), Extent(200, 20, 8)}, {.extents = 4, .bytes = 12}),
            (Lines{"5000: 100+10/7 200+2/8", "5012: 202+12/8", "5024: 214+6/8"}));
}

TEST(Pieces, AnEmptyExtentIsPassedOver) {
  EXPECT_EQ(Cut({Extent(1, 0, 1), Extent(100, 10, 7), Extent(2, 0, 2), Extent(200, 4, 8),
                 Extent(3, 0, 3)},
                {.extents = 1, .bytes = 10}),
            (Lines{"5000: 100+10/7", "5010: 200+4/8"}));
}

TEST(Pieces, ATransferOfNoBytesIsOnePieceWithoutExtents) {
  EXPECT_EQ(Cut({}, {.extents = 4, .bytes = 12}), (Lines{"5000:"}));
  EXPECT_EQ(Cut({Extent(1, 0, 1)}, {.extents = 4, .bytes = 12}), (Lines{"5000:"}));
}

ibv_gid_entry Entry(std::uint32_t index, std::uint32_t port, ibv_gid_type type,
                    std::initializer_list<std::uint8_t> head) {
  ibv_gid_entry entry{};
  entry.gid_index = index;
  entry.port_num = port;
  entry.gid_type = type;
  std::copy(head.begin(), head.end(), entry.gid.raw);
  return entry;
}

constexpr std::initializer_list<std::uint8_t> kNone = {};
constexpr std::initializer_list<std::uint8_t> kLinkLocal = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1};
constexpr std::initializer_list<std::uint8_t> kIpv4 = {0, 0, 0,    0,    0,   0, 0, 0,
                                                       0, 0, 0xff, 0xff, 192, 0, 2, 1};

TEST(BestGid, IsTheIpv4AddressOfRoceVersionTwo) {
  const std::vector<ibv_gid_entry> entries = {
      Entry(0, 1, IBV_GID_TYPE_ROCE_V1, kLinkLocal), Entry(1, 1, IBV_GID_TYPE_ROCE_V2, kLinkLocal),
      Entry(2, 1, IBV_GID_TYPE_ROCE_V1, kIpv4), Entry(3, 1, IBV_GID_TYPE_ROCE_V2, kIpv4)};
  EXPECT_EQ(BestGid(entries, 1)->gid_index, 3u);
  EXPECT_EQ(BestGid({entries.data(), 3}, 1)->gid_index, 1u);
  EXPECT_EQ(BestGid({entries.data(), 1}, 1)->gid_index, 0u);
}

TEST(BestGid, IsNeitherEmptyNorAnotherPortsNorBeyondAnAddress) {
  const std::vector<ibv_gid_entry> entries = {
      Entry(0, 1, IBV_GID_TYPE_ROCE_V2, kNone), Entry(1, 2, IBV_GID_TYPE_ROCE_V2, kIpv4),
      Entry(256, 1, IBV_GID_TYPE_ROCE_V2, kIpv4), Entry(7, 1, IBV_GID_TYPE_IB, kLinkLocal)};
  EXPECT_EQ(BestGid(entries, 1)->gid_index, 7u);
  EXPECT_EQ(BestGid(entries, 2)->gid_index, 1u);
  EXPECT_FALSE(BestGid({entries.data(), 3}, 1).has_value());
  EXPECT_FALSE(BestGid({}, 1).has_value());
}

TEST(CompletionOf, EveryStatusOfVerbsHasAMeaning) {
  for (int status = IBV_WC_SUCCESS; status <= IBV_WC_TM_RNDV_INCOMPLETE; ++status) {
    const Completion completion = CompletionOf(static_cast<ibv_wc_status>(status), true);
    EXPECT_EQ(completion == Completion::kSuccess, status == IBV_WC_SUCCESS) << status;
  }
  EXPECT_EQ(CompletionOf(IBV_WC_LOC_PROT_ERR, true), Completion::kLocalProtectionError);
  for (const ibv_wc_status unclear : {IBV_WC_LOC_QP_OP_ERR, IBV_WC_WR_FLUSH_ERR}) {
    EXPECT_EQ(CompletionOf(unclear, true), Completion::kLocalProtectionError);
    EXPECT_EQ(CompletionOf(unclear, false), Completion::kGeneralError);
  }
  EXPECT_EQ(CompletionOf(IBV_WC_REM_ACCESS_ERR, true), Completion::kRemoteAccessError);
  EXPECT_EQ(CompletionOf(IBV_WC_REM_INV_REQ_ERR, true), Completion::kRemoteInvalidRequest);
  EXPECT_EQ(CompletionOf(IBV_WC_RETRY_EXC_ERR, true), Completion::kGeneralError);
}

}  // namespace
}  // namespace linchpin
