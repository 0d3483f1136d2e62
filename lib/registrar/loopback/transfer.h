// Transfer: copies pinned extents to pinned extents, in chunks, through a bounce.
#pragma once

#include <span>

#include "lib/registrar/loopback/bounce.h"
#include "lib/registrar/loopback/ring.h"

namespace linchpin::loopback {

// All of these return whether all the bytes arrived; if not, some may have, and some may be left in
// the bounce.

// Requires: `from` and `to` have the same number of bytes. Where they overlap within a chunk the
// bytes arrive as they were; further apart, as RDMA has it, what arrives is not defined.
[[nodiscard]] bool Copy(std::span<const PinnedExtent> from, std::span<const PinnedExtent> to,
                        Bounce& bounce);

// Requires: the bytes are at most a page.
[[nodiscard]] bool Load(std::span<const PinnedExtent> from, std::span<std::byte> to,
                        Bounce& bounce);
[[nodiscard]] bool Store(std::span<const std::byte> from, std::span<const PinnedExtent> to,
                         Bounce& bounce);

}  // namespace linchpin::loopback
