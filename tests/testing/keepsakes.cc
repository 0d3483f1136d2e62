#include "tests/testing/keepsakes.h"

#include <pthread.h>

#include <memory>
#include <utility>
#include <vector>

#include "lib/base/check.h"
#include "lib/base/thread_slot.h"

namespace linchpin::testing {

// What one thread keeps in one of the two ways. Gives it back when it is destroyed.
class Keepsakes::Bag final {
 public:
  using Count = std::atomic<std::uint64_t> Keepsakes::*;

  Bag(Count count, bool (*as_meant)(int slot)) : count_(count), as_meant_(as_meant) {}
  Bag(const Bag&) = delete;
  Bag& operator=(const Bag&) = delete;
  ~Bag() {
    for (auto& [owner, lease] : kept_) {
      if (lease) owner->last_use_(lease);
      if (as_meant_(ThreadSlot::Current())) ++(owner->*count_);
      lease = Lease();
    }
  }

  void Put(Keepsakes& owner, Lease lease) { kept_.emplace_back(&owner, std::move(lease)); }

 private:
  const Count count_;
  bool (*const as_meant_)(int slot);
  std::vector<std::pair<Keepsakes*, Lease>> kept_;
};

// A key whose values are bags. Never deleted.
class Keepsakes::Key final {
 public:
  Key() {
    LINCHPIN_CHECK(pthread_key_create(&key_, [](void* bag) { delete static_cast<Bag*>(bag); }) ==
                   0);
  }

  Bag& bag() const {
    if (pthread_getspecific(key_) == nullptr) {
      auto bag = std::make_unique<Bag>(&Keepsakes::returned_without_slot_,
                                       [](int slot) { return slot == ThreadSlot::kGone; });
      LINCHPIN_CHECK(pthread_setspecific(key_, bag.get()) == 0);
      static_cast<void>(bag.release());  // The key's.
    }
    return *static_cast<Bag*>(pthread_getspecific(key_));
  }

 private:
  pthread_key_t key_{};
};

void Keepsakes::KeepWhileSlotIsThere(Lease lease) {
  ThreadSlot::Claim();
  static thread_local Bag bag(&Keepsakes::returned_with_slot_, [](int slot) { return slot > 0; });
  bag.Put(*this, std::move(lease));
}

void Keepsakes::KeepUntilSlotIsGone(Lease lease) {
  ThreadSlot::Claim();
  static const Key key;  // Made after ThreadSlot's, which the first claim makes.
  key.bag().Put(*this, std::move(lease));
}

}  // namespace linchpin::testing
