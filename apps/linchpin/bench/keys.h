// Where a transfer's local memory gets its keys from: the one thing in which the contenders of
// the benchmark differ.
//
// Each class has the same shape, and the timed loop (pump.h) is instantiated for each of them:
//   Hold                         what one outstanding transfer keeps until its completion, beside
//                                its scatter list
//   Take(range, i, hold, list)   adds buffer i, whose memory is `range`, to the list
//   Give(hold)                   after the completion, when the list was released
//   rkey(i)                      the key of the remote buffer i
//   registrations()              of local memory, made so far
//   hit_rate()                   the share of the Take calls that registered nothing
//   Finish()                     gives everything back; to be called once, with no hold out
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "apps/linchpin/bench/buffers.h"
#include "linchpin/access.h"
#include "linchpin/cache.h"
#include "linchpin/registrar.h"
#include "linchpin/scatter_list.h"

namespace linchpin {

inline const void* AddressOf(const Range& range) {
  return reinterpret_cast<const void*>(range.start);
}

// The memory of one size's run, and what is to be done with it.
struct BenchMemory {
  const BufferSet* local = nullptr;
  const BufferSet* remote = nullptr;
  Access local_access = Access::kLocalRead;
  Access remote_access = Access::kLocalRead;
};

// Every buffer of a set, registered directly, and deregistered on destruction at the latest.
class RegisteredSet final {
 public:
  RegisteredSet() = default;
  RegisteredSet(RegisteredSet&& other) noexcept = default;
  RegisteredSet& operator=(RegisteredSet&& other) = delete;
  RegisteredSet(const RegisteredSet&) = delete;
  RegisteredSet& operator=(const RegisteredSet&) = delete;
  ~RegisteredSet();

  static absl::StatusOr<RegisteredSet> Make(std::shared_ptr<Registrar> registrar,
                                            const BufferSet& buffers, Access access);
  absl::Status Deregister();
  const RegistrationKeys& keys(std::size_t index) const { return registrations_[index].keys[0]; }
  std::size_t size() const { return registrations_.size(); }

 private:
  std::shared_ptr<Registrar> registrar_;
  std::vector<Registration> registrations_;
};

class PreregisteredKeys final {
 public:
  struct Hold {};

  static absl::StatusOr<PreregisteredKeys> Make(std::shared_ptr<Registrar> registrar,
                                                const BenchMemory& memory);
  absl::Status Take(const Range& range, std::size_t index, Hold& /*hold*/, ScatterList& list) {
    return list.AddBorrowed(AddressOf(range), range.size(), local_.keys(index).lkey);
  }
  absl::Status Give(Hold& /*hold*/) { return absl::OkStatus(); }
  std::uint32_t rkey(std::size_t index) const { return remote_.keys(index).rkey; }
  std::uint64_t registrations() const { return local_.size(); }
  double hit_rate() const { return 1; }
  absl::Status Finish();

 private:
  PreregisteredKeys(RegisteredSet local, RegisteredSet remote)
      : local_(std::move(local)), remote_(std::move(remote)) {}

  RegisteredSet local_;
  RegisteredSet remote_;
};

class PerOperationKeys final {
 public:
  using Hold = Registration;

  static absl::StatusOr<PerOperationKeys> Make(std::shared_ptr<Registrar> registrar,
                                               const BenchMemory& memory);
  absl::Status Take(const Range& range, std::size_t /*index*/, Hold& hold, ScatterList& list) {
    absl::StatusOr<Registration> made = registrar_->Register(range, access_);
    if (!made.ok()) return made.status();
    ++registrations_;
    hold = *std::move(made);
    absl::Status added = list.AddBorrowed(AddressOf(range), range.size(), hold.keys[0].lkey);
    if (!added.ok()) registrar_->Deregister(hold).IgnoreError();
    return added;
  }
  absl::Status Give(Hold& hold) { return registrar_->Deregister(hold); }
  std::uint32_t rkey(std::size_t index) const { return remote_.keys(index).rkey; }
  std::uint64_t registrations() const { return registrations_; }
  double hit_rate() const { return 0; }
  absl::Status Finish() { return remote_.Deregister(); }

 private:
  PerOperationKeys(std::shared_ptr<Registrar> registrar, Access access, RegisteredSet remote)
      : registrar_(std::move(registrar)), access_(access), remote_(std::move(remote)) {}

  std::shared_ptr<Registrar> registrar_;
  Access access_;
  RegisteredSet remote_;
  std::uint64_t registrations_ = 0;
};

class CachedKeys final {
 public:
  struct Hold {};

  static absl::StatusOr<CachedKeys> Make(std::shared_ptr<Registrar> registrar,
                                         const BenchMemory& memory);
  absl::Status Take(const Range& range, std::size_t /*index*/, Hold& /*hold*/, ScatterList& list) {
    return list.AddRange(*cache_, AddressOf(range), range.size(), access_);
  }
  absl::Status Give(Hold& /*hold*/) { return absl::OkStatus(); }
  std::uint32_t rkey(std::size_t index) const { return remote_[index].rkey(); }
  std::uint64_t registrations() const;
  double hit_rate() const;
  absl::Status Finish();

 private:
  CachedKeys() = default;

  std::unique_ptr<RegistrationCache> cache_;
  Access access_ = Access::kLocalRead;
  std::vector<Lease> remote_;  // Held from the start to the end: peers have their rkeys.
  CacheStats start_;           // When the remote leases had been acquired.
};

}  // namespace linchpin
