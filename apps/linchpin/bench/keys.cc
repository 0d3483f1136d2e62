// What is not in the timed loop: making the registrations before it, and giving them back after it.
#include "apps/linchpin/bench/keys.h"

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace linchpin {

RegisteredSet::~RegisteredSet() {
  Deregister().IgnoreError();
}

absl::StatusOr<RegisteredSet> RegisteredSet::Make(std::shared_ptr<Registrar> registrar,
                                                  const BufferSet& buffers, Access access) {
  RegisteredSet set;
  set.registrar_ = std::move(registrar);
  set.registrations_.reserve(buffers.count());
  for (std::size_t i = 0; i < buffers.count(); ++i) {
    absl::StatusOr<Registration> made = set.registrar_->Register(buffers.range(i), access);
    if (!made.ok()) return made.status();
    set.registrations_.push_back(*std::move(made));
  }
  return set;
}

absl::Status RegisteredSet::Deregister() {
  absl::Status status;
  for (Registration& registration : registrations_) {
    status.Update(registrar_->Deregister(registration));
  }
  registrations_.clear();
  return status;
}

absl::StatusOr<PreregisteredKeys> PreregisteredKeys::Make(std::shared_ptr<Registrar> registrar,
                                                          const BenchMemory& memory) {
  absl::StatusOr<RegisteredSet> local =
      RegisteredSet::Make(registrar, *memory.local, memory.local_access);
  if (!local.ok()) return local.status();
  absl::StatusOr<RegisteredSet> remote =
      RegisteredSet::Make(std::move(registrar), *memory.remote, memory.remote_access);
  if (!remote.ok()) return remote.status();
  return PreregisteredKeys(*std::move(local), *std::move(remote));
}

absl::Status PreregisteredKeys::Finish() {
  absl::Status status = local_.Deregister();
  status.Update(remote_.Deregister());
  return status;
}

absl::StatusOr<PerOperationKeys> PerOperationKeys::Make(std::shared_ptr<Registrar> registrar,
                                                        const BenchMemory& memory) {
  absl::StatusOr<RegisteredSet> remote =
      RegisteredSet::Make(registrar, *memory.remote, memory.remote_access);
  if (!remote.ok()) return remote.status();
  return PerOperationKeys(std::move(registrar), memory.local_access, *std::move(remote));
}

absl::StatusOr<CachedKeys> CachedKeys::Make(std::shared_ptr<Registrar> registrar,
                                            const BenchMemory& memory) {
  CachedKeys keys;
  absl::StatusOr<std::unique_ptr<RegistrationCache>> cache =
      RegistrationCache::Create(std::move(registrar));
  if (!cache.ok()) return cache.status();
  keys.cache_ = *std::move(cache);
  keys.access_ = memory.local_access;
  for (std::size_t i = 0; i < memory.remote->count(); ++i) {
    absl::StatusOr<Lease> lease =
        keys.cache_->Acquire(memory.remote->at(i), memory.remote->size(), memory.remote_access);
    if (!lease.ok()) return lease.status();
    keys.remote_.push_back(*std::move(lease));
  }
  keys.start_ = keys.cache_->stats();
  return keys;
}

std::uint64_t CachedKeys::registrations() const {
  return cache_->stats().registrations - start_.registrations;
}

double CachedKeys::hit_rate() const {
  const CacheStats now = cache_->stats();
  const auto hits = static_cast<double>(now.hits - start_.hits);
  const auto misses = static_cast<double>(now.misses - start_.misses);
  return hits + misses == 0 ? 0 : hits / (hits + misses);
}

absl::Status CachedKeys::Finish() {
  remote_.clear();
  return cache_->Close(absl::Seconds(30));
}

}  // namespace linchpin
