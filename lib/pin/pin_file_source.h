// What the end of a pin file is told by: a descriptor, and what epoll says of it then.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

#include "lib/base/fd.h"

namespace linchpin::internal {

struct PinFileSource {
  Fd fd;                     // Nobody else's descriptor, perhaps of somebody else's open file.
  std::uint32_t events = 0;  // To be waited for.
  bool drained = false;      // What can be read is thrown away, and says nothing.
  const char* reason = "";   // What has happened when one of the events, or EPOLLHUP, comes.
};

struct HolderSource {
  PinFileSource source;
  Fd holder;
};

// A pair of sockets. Returns: ResourceExhausted when there are no descriptors.
absl::StatusOr<HolderSource> MakeHolder();

// The peer of a socket, the other end of a pipe, or the process of a pidfd. Returns: as
// PinFile::Attach.
absl::StatusOr<PinFileSource> PeerOf(int fd, bool half_close_is_alive);

// Reads what was sent, up to a bound, and throws it away with the descriptors in it.
void Drain(int fd);

}  // namespace linchpin::internal
