#include "lib/base/thread_slot.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace linchpin {
namespace {

constexpr int kWordBits = 64;
using Word = std::atomic<std::uint64_t>;

// A set bit is a slot that is taken; slot 0 is never given.
constinit std::array<Word, ThreadSlot::kEnd / kWordBits> taken{Word{1}};
constinit std::atomic<int> bound{1};

// Returns: the lowest free slot, or kNone.
int TakeLowest() {
  for (std::size_t at = 0; at < taken.size(); ++at) {
    std::uint64_t word = taken[at].load(std::memory_order_relaxed);
    while (~word != 0) {
      const int bit = std::countr_one(word);
      // Acquire: pairs with the release of the slot's last owner.
      if (taken[at].compare_exchange_weak(word, word | (std::uint64_t{1} << bit),
                                          std::memory_order_acquire, std::memory_order_relaxed)) {
        return static_cast<int>(at) * kWordBits + bit;
      }
    }
  }
  return ThreadSlot::kNone;
}

void RaiseBound(int slot) {
  int seen = bound.load(std::memory_order_relaxed);
  while (seen <= slot && !bound.compare_exchange_weak(seen, slot + 1)) continue;
}

void GiveBack(int slot) {
  const std::uint64_t bit = std::uint64_t{1} << (slot % kWordBits);
  taken[static_cast<std::size_t>(slot / kWordBits)].fetch_and(~bit, std::memory_order_release);
}

}  // namespace

constinit thread_local int ThreadSlot::current_ = ThreadSlot::kNone;

// By a key and not by the destructor of a thread_local object: a thread may claim its slot so late
// that it destroys no more of those, in the destructor of another key.
class ThreadSlot::AtExit final {
 public:
  AtExit() { valid_ = pthread_key_create(&key_, Leave) == 0; }

  // Returns: whether the calling thread will leave `slot` when it ends.
  bool Set(int slot) const {
    return valid_ && pthread_setspecific(key_, reinterpret_cast<void*>(std::intptr_t{slot})) == 0;
  }

 private:
  static void Leave(void* slot) {
    current_ = kGone;
    GiveBack(static_cast<int>(reinterpret_cast<std::intptr_t>(slot)));
  }

  pthread_key_t key_{};
  bool valid_ = false;
};

int ThreadSlot::Claim() {
  if (current_ != kNone) return current_;
  static const AtExit at_exit;
  const int slot = TakeLowest();
  if (slot == kNone) return kNone;
  if (!at_exit.Set(slot)) {
    GiveBack(slot);
    return kNone;
  }
  RaiseBound(slot);
  return current_ = slot;
}

int ThreadSlot::Bound() {
  return bound.load(std::memory_order_acquire);
}

}  // namespace linchpin
