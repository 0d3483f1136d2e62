// Where a transfer's local key comes from: the one thing in which the benchmark's contenders
// differ.
//
// Each class has the same shape, and the timed loop (pump.h) is instantiated for each of them:
//   Hold                     what one outstanding transfer keeps until its completion
//   Take(range, i, hold)     the lkey for buffer i, whose memory is `range`
//   Give(hold)               after the completion
//   rkey(i)                  the key of the remote buffer i
//   registrations()          of local memory, made so far
//   hit_rate()               the share of the Take calls that registered nothing
//   Finish()                 gives everything back; to be called once, with no hold out
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

namespace linchpin {

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
  absl::StatusOr<std::uint32_t> Take(const Range& /*range*/, std::size_t index, Hold& /*hold*/) {
    return local_.keys(index).lkey;
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
  absl::StatusOr<std::uint32_t> Take(const Range& range, std::size_t /*index*/, Hold& hold) {
    absl::StatusOr<Registration> made = registrar_->Register(range, access_);
    if (!made.ok()) return made.status();
    ++registrations_;
    hold = *std::move(made);
    return hold.keys[0].lkey;
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
  using Hold = Lease;

  static absl::StatusOr<CachedKeys> Make(std::shared_ptr<Registrar> registrar,
                                         const BenchMemory& memory);
  absl::StatusOr<std::uint32_t> Take(const Range& range, std::size_t /*index*/, Hold& hold) {
    absl::StatusOr<Lease> lease =
        cache_->Acquire(reinterpret_cast<const void*>(range.start), range.size(), access_);
    if (!lease.ok()) return lease.status();
    hold = *std::move(lease);
    return hold.lkey();
  }
  absl::Status Give(Hold& hold) {
    hold = Lease();
    return absl::OkStatus();
  }
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
