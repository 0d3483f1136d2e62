// PinFileCore: what is behind a PinFile, and what those need who have pins of one: the caches and
// VaddrPins, its clients.
//
// A claim is one pin, or one lease on a pin, that belongs to the file: begun before it is made and
// ended when it is gone for good, so that no claims means nothing is pinned for the file.
//
//   Alive --trigger--> Closing --no claims, or the grace time is over--> Revoked
//   Alive     BeginClaim succeeds
//   Closing   it fails; clients were told OnClosing: what nobody holds goes
//   Revoked   clients were told OnRevoke: everything goes; the guard is let go after the last claim
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "linchpin/pin_file.h"
#include "linchpin/range.h"

namespace linchpin::internal {

class PinFileCore;

// Has pins of a PinFile. Called with no lock of the file's held, on the watcher's thread or on one
// that calls Revoke, Close or Sync.
class PinFileClient {
 public:
  virtual ~PinFileClient() = default;

  // What belongs to the file and is held by nobody is to end, soon and on the client's own thread.
  virtual void OnClosing(const PinFileCore& file) = 0;

  // All that belongs to the file is to end although held. Returns at once or after deregistering:
  // each claim is ended by EndClaim whenever its registration is gone.
  virtual void OnRevoke(const PinFileCore& file) = 0;

  // Deregisters what belongs to the file, is dirty, and is held by nobody, and adds its dirty
  // ranges to `dirty`; adds to `held` those of what is held. Returns when it is deregistered.
  virtual void OnSync(const PinFileCore& file, std::vector<Range>& dirty,
                      std::vector<Range>& held) = 0;
};

class PinFileCore final : public std::enable_shared_from_this<PinFileCore> {
 public:
  // The core of a file that the user has. Claims keep the core, not the PinFile: a file that the
  // user let go of goes on for as long as something is pinned for it.
  static const std::shared_ptr<PinFileCore>& Of(const PinFile& file);

  // Returns: OK; FailedPrecondition, saying what ended the file, when it is not alive, or when this
  // is a forked child. From then on `client` is called, until it has ended its last claim.
  absl::Status BeginClaim(PinFileClient& client);

  // Ends one claim. If it was the client's last, the client is not being called any more when this
  // returns (unless it is this very call that it is in), and will not be. Requires: no lock is held
  // that a client's callback takes; never fails, never waits for a device.
  void EndClaim(PinFileClient& client) noexcept;

  // Whether the guard, if there is one, still holds for memory of this file (st_dev, st_ino).
  bool Guards(std::uint64_t device, std::uint64_t inode) const;

  // Whether claims can begin. False from before the first client is told.
  bool alive() const;

  // Remembers dirty ranges of a claim that ends, for the next Sync. Allocates.
  void KeepDirty(const std::vector<Range>& ranges);

  std::uint64_t id() const;
  const std::string& name() const;
};

}  // namespace linchpin::internal
