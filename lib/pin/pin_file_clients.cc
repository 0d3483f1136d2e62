// PinFileCore: how clients are called, and how they know that they are not any more.
#include <algorithm>
#include <utility>

#include "lib/base/check.h"
#include "lib/pin/pin_file_core.h"

namespace linchpin::internal {

// A call of a client on this thread, while it lasts.
class PinFileCore::Call final {
 public:
  explicit Call(const Client& client) : client_(&client), outer_(std::exchange(innermost_, this)) {}
  ~Call() { innermost_ = outer_; }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // How many calls of the client this thread is in.
  static int Depth(const Client& client) {
    int depth = 0;
    for (const Call* call = innermost_; call != nullptr; call = call->outer_) {
      if (call->client_ == &client) ++depth;
    }
    return depth;
  }

 private:
  [[gnu::tls_model("initial-exec")]] static constinit thread_local const Call* innermost_;

  const Client* const client_;
  const Call* const outer_;
};

constinit thread_local const PinFileCore::Call* PinFileCore::Call::innermost_ = nullptr;

void PinFileCore::ForEachClient(Told what, const std::function<void(PinFileClient&)>& call) {
  PinFileClient* last = nullptr;
  for (;;) {
    Clients::iterator next;
    {
      const MutexLock lock(mutex_);
      next = clients_.upper_bound(last);
      while (next != clients_.end() &&
             (next->second.claims == 0 || (what != Told::kNothing && next->second.told >= what))) {
        ++next;
      }
      if (next == clients_.end()) return;
      last = next->first;
      next->second.told = std::max(next->second.told, what);
      ++next->second.calls;  // From here on the entry stays.
    }
    {
      const Call entered(next->second);
      call(*last);
    }
    const MutexLock lock(mutex_);
    --next->second.calls;
    EraseIfSpent(next);
    changed_.NotifyAll();
  }
}

void PinFileCore::EndClaim(PinFileClient& client) noexcept {
  if (!IsOurs()) return;
  {
    const MutexLock lock(mutex_);
    const auto entry = clients_.find(&client);
    LINCHPIN_CHECK(entry != clients_.end() && entry->second.claims > 0);
    Client& mine = entry->second;
    --mine.claims;
    --claims_;
    const int own = Call::Depth(mine);
    ++mine.waiting;
    while (mine.claims == 0 && mine.calls > own) changed_.Wait(mutex_);
    --mine.waiting;
    EraseIfSpent(entry);
  }
  FinishIfDone();
}

std::uint64_t PinFileCore::Held() {
  std::uint64_t held = 0;
  if (!IsOurs()) return held;
  ForEachClient(Told::kNothing, [&](PinFileClient& client) { held += client.Held(*this); });
  return held;
}

void PinFileCore::EraseIfSpent(Clients::iterator client) {
  const Client& spent = client->second;
  if (spent.claims == 0 && spent.calls == 0 && spent.waiting == 0) clients_.erase(client);
}

}  // namespace linchpin::internal
