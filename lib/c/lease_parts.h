// LeaseParts: a Lease, kept in the bytes of a struct linchpin_lease. Nothing is allocated: the hit
// path of C is that of C++ and a copy of 40 bytes.
#pragma once

#include <cstdint>
#include <utility>

#include "linchpin/c.h"
#include "linchpin/cache.h"

namespace linchpin::internal {

// An empty lease is all zeroes, and what is all zeroes is an empty lease.
class LeaseParts final {
 public:
  // Requires: `lease` claims something.
  static void Store(Lease&& lease, linchpin_lease& out) {
    out.lkey = lease.lkey();
    out.rkey = lease.rkey();
    out.address = reinterpret_cast<void*>(lease.range_.start);
    out.length = lease.range_.size();
    out.opaque[0] = reinterpret_cast<std::uintptr_t>(std::exchange(lease.core_, nullptr));
    out.opaque[1] = lease.region_;
  }

  static bool IsEmpty(const linchpin_lease& lease) { return lease.opaque[0] == 0; }

  static Lease Take(linchpin_lease& from) {
    Lease lease = Copy(from);
    from = linchpin_lease{};
    return lease;
  }

  // A lease to be asked, never to be released: the claim stays with the bytes.
  class Borrowed final {
   public:
    explicit Borrowed(const linchpin_lease& from) : lease_(Copy(from)) {}
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    ~Borrowed() { lease_.core_ = nullptr; }
    const Lease& operator*() const { return lease_; }

   private:
    Lease lease_;
  };

 private:
  static Lease Copy(const linchpin_lease& from) {
    const auto start = reinterpret_cast<std::uintptr_t>(from.address);
    return {reinterpret_cast<CacheCore*>(from.opaque[0]),
            static_cast<std::uint32_t>(from.opaque[1]), Range{start, start + from.length}};
  }
};

}  // namespace linchpin::internal
