// SparseMap: an array at a fixed address that may become large. Address space is reserved for all
// of it at once; memory only for what is opened, and of that only for what is touched.
//
// What is not opened has no access rights, so that neither mlockall(MCL_FUTURE) nor strict
// accounting (vm.overcommit_memory=2) pays for it. Not in core dumps.
#pragma once

#include <atomic>
#include <cstddef>

#include "absl/status/statusor.h"

namespace linchpin {

class SparseMap final {
 public:
  // Of what memory is made where the kernel can: for random access to many MiB, huge pages spare
  // most TLB misses, and what is touched costs 2 MiB at a time once that much is open.
  enum class Pages { kSmall, kHuge };

  // Returns: ResourceExhausted when there is not that much address space (RLIMIT_AS, mlockall).
  static absl::StatusOr<SparseMap> Reserve(std::size_t bytes, Pages pages = Pages::kSmall);

  // Reserves and opens all of it. Returns: ResourceExhausted also when the kernel gives no memory.
  static absl::StatusOr<SparseMap> MakeOpen(std::size_t bytes);

  SparseMap() = default;
  SparseMap(SparseMap&& other) noexcept;
  SparseMap& operator=(SparseMap&& other) noexcept;
  SparseMap(const SparseMap&) = delete;
  SparseMap& operator=(const SparseMap&) = delete;
  ~SparseMap();

  // Opens at least the first `bytes`, zeroed; more than asked for, so that growing is seldom.
  // Returns: false when the kernel refuses; nothing has changed then.
  // Requires: no lock is held that the monitor's reader takes; one call at a time.
  bool Open(std::size_t bytes);

  // Gives the memory of what is opened back to the system; it reads as zeroes again.
  // Requires: no lock is held that the monitor's reader takes.
  void Clear() const;

  std::byte* data() const { return data_; }
  std::size_t open_bytes() const { return open_bytes_; }
  std::size_t bytes() const { return bytes_; }

 private:
  SparseMap(std::byte* data, std::size_t bytes) : data_(data), bytes_(bytes) {}

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::atomic<std::size_t> open_bytes_{0};  // Read by Clear() while another thread opens.
};

}  // namespace linchpin
