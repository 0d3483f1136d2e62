#include "lib/base/thread_slot.h"

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

}  // namespace

constinit thread_local int ThreadSlot::current_ = ThreadSlot::kNone;

// Gives the slot back when its thread ends. Objects of the thread that are destroyed later find
// kGone.
class ThreadSlot::Holder final {
 public:
  Holder() {
    current_ = TakeLowest();
    int seen = bound.load(std::memory_order_relaxed);
    while (seen <= current_ && !bound.compare_exchange_weak(seen, current_ + 1)) continue;
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  ~Holder() {
    const int slot = current_;
    current_ = kGone;
    if (slot <= 0) return;
    const std::uint64_t bit = std::uint64_t{1} << (slot % kWordBits);
    taken[static_cast<std::size_t>(slot / kWordBits)].fetch_and(~bit, std::memory_order_release);
  }
};

int ThreadSlot::Claim() {
  if (current_ == kNone) {
    static thread_local const Holder holder;
  }
  return current_;
}

int ThreadSlot::Bound() {
  return bound.load(std::memory_order_acquire);
}

}  // namespace linchpin
