#include "lib/registrar/loopback/key_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "lib/base/check.h"

namespace linchpin::loopback {
namespace {

constexpr std::uint32_t MakeKey(std::uint32_t index, std::uint32_t generation) {
  return (index << kGenerationBits) | generation;
}
constexpr std::uint32_t IndexOf(std::uint32_t key) {
  return key >> kGenerationBits;
}
constexpr std::uint32_t GenerationOf(std::uint32_t key) {
  return key & kGenerationMax;
}

}  // namespace

std::size_t Region::PieceCount(Range range) {
  return (range.end - 1) / kPieceBytes - range.start / kPieceBytes + 1;
}

Range Region::Piece(Range range, std::size_t piece) {
  const std::uintptr_t start = (range.start / kPieceBytes + piece) * kPieceBytes;
  // The last byte, for the end of the last piece of the address space is 0.
  const std::uintptr_t last = std::min(start + (kPieceBytes - 1), range.end - 1);
  return {std::max(start, range.start), last + 1};
}

void Region::AppendExtents(Range part, std::vector<PinnedExtent>& out) const {
  const std::size_t skipped = part.start / kPieceBytes - range.start / kPieceBytes;
  for (std::size_t i = 0; i < PieceCount(part); ++i) {
    const Range piece = Piece(part, i);
    out.push_back({slots[skipped + i], piece.start, piece.size()});
  }
}

HeldRegion::~HeldRegion() {
  if (table_ != nullptr) table_->LetGo(index_);
}

absl::StatusOr<std::uint32_t> KeyTable::Reserve() {
  const MutexLock lock(mutex_);
  if (free_.empty()) {
    if (records_.size() == kRecordsMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("all ", kRecordsMax - retired_,
                       " keys of the loopback device are in use; deregister some",
                       retired_ == 0 ? "" : ", or make a new device: it never gives a key twice"));
    }
    free_.push_back(static_cast<std::uint32_t>(records_.size()));
    records_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  records_[index].state = State::kReserved;
  return MakeKey(index, records_[index].generation);
}

void KeyTable::Publish(std::uint32_t key, Region region) {
  const MutexLock lock(mutex_);
  Record* record = Find(key, State::kReserved);
  LINCHPIN_CHECK(record != nullptr);
  record->region = std::move(region);
  record->state = State::kAlive;
}

std::optional<Region> KeyTable::Kill(std::uint32_t key) {
  const MutexLock lock(mutex_);
  Record* record = Find(key, State::kAlive);
  if (record == nullptr) return std::nullopt;
  record->state = State::kDying;
  while (record->holders > 0) let_go_.Wait(mutex_);
  return std::exchange(record->region, Region());
}

void KeyTable::Cancel(std::uint32_t key) {
  const MutexLock lock(mutex_);
  Record* record = Find(key, State::kReserved);
  LINCHPIN_CHECK(record != nullptr);
  record->state = State::kFree;
  free_.push_back(IndexOf(key));
}

void KeyTable::Free(std::uint32_t key) {
  const MutexLock lock(mutex_);
  Record* record = Find(key, State::kDying);
  LINCHPIN_CHECK(record != nullptr && record->holders == 0);
  if (record->generation == kGenerationMax) {
    record->state = State::kRetired;
    ++retired_;
    return;
  }
  ++record->generation;
  record->state = State::kFree;
  free_.push_back(IndexOf(key));
}

std::optional<HeldRegion> KeyTable::Hold(std::uint32_t key, Range part, Access rights) {
  const MutexLock lock(mutex_);
  Record* record = Find(key, State::kAlive);
  if (record == nullptr || !record->region.range.Contains(part)) return std::nullopt;
  if ((record->region.access & rights) != rights) return std::nullopt;
  ++record->holders;
  return HeldRegion(this, IndexOf(key), &record->region);
}

void KeyTable::LetGo(std::uint32_t index) {
  const MutexLock lock(mutex_);
  Record& record = records_[index];
  if (--record.holders == 0 && record.state == State::kDying) let_go_.NotifyAll();
}

std::uint64_t KeyTable::capacity() const {
  const MutexLock lock(mutex_);
  return kRecordsMax - retired_;
}

KeyTable::Record* KeyTable::Find(std::uint32_t key, State state) {
  const std::uint32_t index = IndexOf(key);
  if (index >= records_.size()) return nullptr;
  Record& record = records_[index];
  return record.generation == GenerationOf(key) && record.state == state ? &record : nullptr;
}

}  // namespace linchpin::loopback
