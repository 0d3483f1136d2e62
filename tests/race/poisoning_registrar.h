// PoisoningRegistrar: a registrar without a device that sees when a lease outlives its
// registration. Its keys die with the registrations, and it knows what each covers. To
// ThreadSanitizer it is a data race as well, when the last use of a lease is not ordered before the
// deregistration, or the registration before the first use.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "linchpin/cache.h"
#include "linchpin/registrar.h"

namespace linchpin::testing {

class PoisoningRegistrar final : public Registrar {
 public:
  absl::StatusOr<Registration> Register(Range range, Access access) override {
    for (;;) {
      const std::uint32_t key = next_key_.fetch_add(1);
      Slot& slot = SlotOf(key);
      std::uint32_t free = kPoisoned;
      // Acquire: pairs with the release of who deregistered the slot's last one.
      if (key <= kReserved ||
          !slot.key.compare_exchange_strong(free, kReserved, std::memory_order_acquire)) {
        continue;
      }
      slot.range = range;
      // Relaxed: who gives out the lease has to order it.
      slot.key.store(key, std::memory_order_relaxed);
      ++registered_;
      return Registration{range, access, {{key, key}}, key};
    }
  }

  absl::Status Deregister(Registration& registration) override {
    const auto key = static_cast<std::uint32_t>(registration.handle);
    Slot& slot = SlotOf(key);
    if (slot.key.load(std::memory_order_relaxed) != key) ++violations_;  // Twice.
    slot.range = Range{};
    slot.key.store(kPoisoned, std::memory_order_release);
    registration.handle = 0;
    ++deregistered_;
    return absl::OkStatus();
  }

  RegistrarLimits limits() const override { return {}; }

  // What a device does with the key of a lease.
  void Use(const Lease& lease) {
    const Slot& slot = SlotOf(lease.lkey());
    const bool good = slot.key.load(std::memory_order_relaxed) == lease.lkey() &&
                      slot.range.Contains(lease.range()) && slot.range == lease.registered();
    if (!good) ++violations_;
  }

  std::uint64_t registered() const { return registered_; }
  std::uint64_t deregistered() const { return deregistered_; }
  std::uint64_t violations() const { return violations_; }

 private:
  static constexpr std::uint32_t kPoisoned = 0;
  static constexpr std::uint32_t kReserved = 1;
  struct Slot {
    std::atomic<std::uint32_t> key = kPoisoned;
    Range range;  // Not atomic: only the cache orders its uses.
  };

  Slot& SlotOf(std::uint32_t key) { return slots_[key % slots_.size()]; }

  std::atomic<std::uint32_t> next_key_ = 2;
  std::atomic<std::uint64_t> registered_ = 0;
  std::atomic<std::uint64_t> deregistered_ = 0;
  std::atomic<std::uint64_t> violations_ = 0;
  std::vector<Slot> slots_{1 << 16};
};

}  // namespace linchpin::testing
