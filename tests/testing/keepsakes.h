// Keepsakes: leases that threads still have when they end, and give back at one of the two times
// that are different for a cache: while the thread's slot is there, or when it is gone.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

#include "linchpin/cache.h"

namespace linchpin::testing {

// A thread that ends destroys its thread_local objects first. Then it calls the destructors of its
// pthread keys, in glibc those of older keys first, and ThreadSlot's own key is one of them. A
// thread that has no slot yet when it keeps a lease claims one.
//
// Thread-safety: the calls may be made at once from any threads.
class Keepsakes final {
 public:
  using LastUse = std::function<void(const Lease&)>;

  // Calls `last_use` with each lease before it is given back, on the thread that ends.
  explicit Keepsakes(LastUse last_use = [](const Lease&) {}) : last_use_(std::move(last_use)) {}
  Keepsakes(const Keepsakes&) = delete;
  Keepsakes& operator=(const Keepsakes&) = delete;
  // Requires: all threads that kept a lease have been joined.
  ~Keepsakes() = default;

  // Until the calling thread destroys its thread_local objects: its slot is there.
  void KeepWhileSlotIsThere(Lease lease);
  // Until the destructor of a key that is younger than ThreadSlot's: the slot is gone.
  void KeepUntilSlotIsGone(Lease lease);

  // How many have been given back so far, of each kind; only those whose thread's slot was really
  // there, or gone, as ThreadSlot::Current() says.
  std::uint64_t returned_with_slot() const { return returned_with_slot_; }
  std::uint64_t returned_without_slot() const { return returned_without_slot_; }

 private:
  class Bag;
  class Key;

  const LastUse last_use_;
  std::atomic<std::uint64_t> returned_with_slot_ = 0;
  std::atomic<std::uint64_t> returned_without_slot_ = 0;
};

}  // namespace linchpin::testing
