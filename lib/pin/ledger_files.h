// LedgerFiles: the ledger's table of files, in which each file with pins has one record. Its path
// is looked up when it is new here, and again when nobody had a pin of it for a second, because
// another file may have its inode number by then.
//
// Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "lib/pin/ledger_memory.h"
#include "lib/pin/ledger_table.h"

namespace linchpin::internal {

class LedgerFiles final {
 public:
  struct Id {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    constexpr bool operator==(const Id&) const = default;
  };

  // Returns: the record of the file, with one more pin in it; 0 when its path is to be looked up.
  std::uint32_t Find(Id id, std::uint64_t now_ns);

  // The same with the path known: makes a record or renews it. Returns: 0 when there is no room.
  std::uint32_t Put(const LedgerMemory& memory, Id id, std::string_view path, std::uint64_t now_ns);

  // One pin less in record `number`; 0 is none.
  void Drop(std::uint32_t number);

 private:
  static constexpr std::uint32_t kBuckets = 1024;

  struct File {
    Id id;
    std::uint64_t looked_up_ns = 0;
    std::uint32_t pins = 0;
    std::uint32_t next = 0;  // In its bucket; numbers from 1.
  };

  static std::uint32_t BucketOf(Id id);
  std::uint32_t Lookup(Id id) const;
  // Takes a record that no pin is in away from its file. Returns: its number, 0 if all have pins.
  std::uint32_t Reclaim();

  LedgerTable<LedgerFileRecord, kLedgerFiles, kLedgerFilesAt> table_;
  const std::unique_ptr<File[]> files_ = std::make_unique<File[]>(kLedgerFiles);
  std::array<std::uint32_t, kBuckets> buckets_{};  // The first file of each.
  std::uint32_t without_pins_ = 0;                 // Records that have a file, and no pin in it.
};

}  // namespace linchpin::internal
