// Pin: what the references of a VaddrPin refer to.
//
//   Making --published--> Live --the last reference goes, revoked--> Ended
//
//   Making  of the maker alone; a revocation that comes now is remembered
//   Live    registered (but a frame-only pin), in the ledger, and with a claim on its file if it
//           has one
//   Ended   taken down, or being so, by exactly one thread
//
// In a forked child nothing is taken down: the memory is the parent's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "lib/base/mutex.h"
#include "lib/pin/dirty_ranges.h"
#include "lib/pin/ledger.h"
#include "lib/pin/pin_file_core.h"
#include "linchpin/pin.h"

namespace linchpin::internal {

class Pin final : public PinFileClient {
 public:
  struct Dropped {
    void operator()(Pin* pin) const { pin->Release(); }
  };
  using Made = std::unique_ptr<Pin, Dropped>;

  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;

  // Claims the file. Requires: the request is one that PinVaddr has checked. Returns: a pin in the
  // making; FailedPrecondition when the file is not alive.
  static absl::StatusOr<Made> Begin(std::shared_ptr<Registrar> registrar,
                                    const PinRequest& request);

  absl::Status Register(Access access);  // Returns: what the registrar said.

  // Returns: the first reference; FailedPrecondition when the file was revoked meanwhile.
  static absl::StatusOr<VaddrPin> Publish(Made made);

  // Of VaddrPins, whose number is shown. The last to go ends the pin.
  void Ref();
  void Release();

  Range range() const { return range_; }
  PinKind kind() const { return kind_; }
  Access rights() const { return rights_; }
  std::size_t devices() const { return registration_.keys.size(); }
  const RegistrationKeys& keys(std::size_t device) const;
  bool revoked() const { return revoked_.load(std::memory_order_acquire); }

  absl::StatusOr<std::vector<std::uint64_t>> Frames();
  absl::StatusOr<std::vector<Range>> SharedFrames();
  absl::StatusOr<std::vector<Range>> MovedFrames();
  absl::StatusOr<PhyrList> Phyrs() const;
  void MarkDirty(Range written);
  std::vector<Range> dirty() const;

  void OnClosing(const PinFileCore&) override {}  // Somebody holds it, or it would not be there.
  void OnRevoke(const PinFileCore&) override;
  void OnSync(const PinFileCore&, std::vector<Range>& held) override;

 private:
  enum class State : std::uint8_t { kMaking, kLive, kEnded };
  using Frame = std::vector<std::uint64_t>;

  Pin(std::shared_ptr<Registrar> registrar, const PinRequest& request);
  ~Pin() override;

  bool IsOurs() const;  // And not a forking parent's.
  bool TryRef();
  void Unref();
  bool GoLive();
  bool TakeLive(bool revoked);
  void List();
  void TakeDown();
  void TakeDownFrames();
  absl::Status Sample();
  std::vector<Range> PagesWhere(const std::vector<bool>& chosen) const;

  const std::uint64_t cookie_;
  const std::shared_ptr<Registrar> registrar_;  // Null for a frame-only pin.
  const Range range_;
  const PinKind kind_;
  const Access rights_;
  const std::shared_ptr<PinFileCore> file_;  // Null for nobody's.

  std::atomic<std::uint64_t> references_{1};
  std::atomic<bool> revoked_{false};

  // Written before the pin is live, and by the one thread that takes it down.
  Registration registration_;
  bool claimed_ = false;

  mutable Mutex mutex_;                              // Only the ledger's locks are taken under it.
  std::uint64_t users_ ABSL_GUARDED_BY(mutex_) = 1;  // References but those of OnRevoke.
  LedgerEntry listed_ ABSL_GUARDED_BY(mutex_) = 0;   // While it is Live.
  State state_ ABSL_GUARDED_BY(mutex_) = State::kMaking;
  std::unique_ptr<DirtyRanges> dirty_ ABSL_GUARDED_BY(mutex_);  // Null while nothing is dirty.

  // Held while the page map is read; FrameMap's mutex comes under it.
  Mutex sampling_;
  bool frames_counted_ ABSL_GUARDED_BY(sampling_) = false;
  bool frames_over_ ABSL_GUARDED_BY(sampling_) = false;  // Taken down: not to be counted any more.
  // What was sampled, once it was; read without the lock, which a forked child may find held.
  std::atomic<const Frame*> frames_{nullptr};
};

}  // namespace linchpin::internal
