#include "lib/pin/ledger_files.h"

namespace linchpin::internal {
namespace {

constexpr std::uint64_t kTrustedNs = 1'000'000'000;

}  // namespace

std::uint32_t LedgerFiles::BucketOf(Id id) {
  const std::uint64_t mixed = (id.device * 31 + id.inode) * 0x9e37'79b9'7f4a'7c15;
  return static_cast<std::uint32_t>(mixed >> 32) % kBuckets;
}

std::uint32_t LedgerFiles::Lookup(Id id) const {
  std::uint32_t number = buckets_[BucketOf(id)];
  while (number != 0 && files_[number - 1].id != id) number = files_[number - 1].next;
  return number;
}

std::uint32_t LedgerFiles::Find(Id id, std::uint64_t now_ns) {
  const std::uint32_t number = Lookup(id);
  if (number == 0) return 0;
  File& file = files_[number - 1];
  if (file.pins == 0) {
    if (now_ns - file.looked_up_ns > kTrustedNs) return 0;
    --without_pins_;
  }
  ++file.pins;
  return number;
}

std::uint32_t LedgerFiles::Put(const LedgerMemory& memory, Id id, std::string_view path,
                               std::uint64_t now_ns) {
  std::uint32_t number = Lookup(id);
  if (number == 0) {
    number = table_.Take(memory, &LedgerHeader::files_used);
    if (number == 0) number = Reclaim();
    if (number == 0) return 0;
    std::uint32_t& first = buckets_[BucketOf(id)];
    files_[number - 1] = {.id = id, .next = first};
    first = number;
    ++without_pins_;
  }
  LedgerFileRecord record{.device = id.device, .inode = id.inode};
  SetLedgerText(record.path, path);
  table_.Write(memory, number, record);
  File& file = files_[number - 1];
  file.looked_up_ns = now_ns;
  if (file.pins++ == 0) --without_pins_;
  return number;
}

void LedgerFiles::Drop(std::uint32_t number) {
  if (number == 0) return;
  if (--files_[number - 1].pins == 0) ++without_pins_;
}

std::uint32_t LedgerFiles::Reclaim() {
  if (without_pins_ == 0) return 0;
  std::uint32_t number = 1;
  while (files_[number - 1].pins != 0) ++number;
  std::uint32_t* link = &buckets_[BucketOf(files_[number - 1].id)];
  while (*link != number) link = &files_[*link - 1].next;
  *link = files_[number - 1].next;
  --without_pins_;
  return number;
}

}  // namespace linchpin::internal
