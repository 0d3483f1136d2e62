// FakeClient: has claims on pin files and does as it is told; says what it was told.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "lib/pin/pin_file_core.h"
#include "linchpin/pin_file.h"
#include "tests/testing/owner.h"

namespace linchpin::testing {

// Ends its claims when it is told to revoke, unless told otherwise.
class FakeClient final : public internal::PinFileClient {
 public:
  using Hook = std::function<void(const internal::PinFileCore&)>;

  absl::Status Begin(const PinFile& file) {
    const auto& core = internal::PinFileCore::Of(file);
    core_ = core;  // Before the watcher may call.
    absl::Status begun = core->BeginClaim(*this);
    if (begun.ok()) ++claims_;
    return begun;
  }
  void EndAll() {
    for (int left = claims_.exchange(0); left > 0; --left) core_->EndClaim(*this);
  }

  void OnClosing(const internal::PinFileCore& file) override {
    ++closings;
    if (on_closing) on_closing(file);
  }
  void OnRevoke(const internal::PinFileCore& file) override {
    ++revocations;
    if (on_revoke) {
      on_revoke(file);
    } else {
      EndAll();
    }
  }
  void OnSync(const internal::PinFileCore&, std::vector<Range>& held) override {
    ++syncs;
    core_->KeepDirty(dirty_on_sync);
    held.insert(held.end(), held_on_sync.begin(), held_on_sync.end());
  }

  int claims() const { return claims_; }

  // Set before the first claim.
  Hook on_closing;
  Hook on_revoke;
  std::vector<Range> dirty_on_sync;
  std::vector<Range> held_on_sync;

  std::atomic<int> closings = 0;
  std::atomic<int> revocations = 0;
  std::atomic<int> syncs = 0;

 private:
  std::shared_ptr<internal::PinFileCore> core_;
  std::atomic<int> claims_ = 0;
};

}  // namespace linchpin::testing
