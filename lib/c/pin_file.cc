// linchpin_pin_file_...: leases that end with a descriptor, a peer or a process.
#include <cerrno>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "lib/base/fd.h"
#include "lib/base/process.h"
#include "lib/c/guarded.h"
#include "lib/c/handles.h"
#include "lib/c/lease_parts.h"
#include "linchpin/access.h"

namespace linchpin::c {
namespace {

constexpr const char* kNoOut = "the out pointer is NULL; there is nowhere to put the pin file";
constexpr const char* kNoPinFile = "the pin file is NULL";

// The errno of what PinFile says: its FailedPrecondition is never about memory.
int PinFileResult(const absl::Status& status) {
  const int result = Result(status);
  return absl::IsFailedPrecondition(status) ? -EPIPE : result;
}

bool IsParents(const linchpin_pin_file& pin_file) {
  return pin_file.process != ProcessCookie();
}

int Create(linchpin_pin_file** out, int* holder_fd) {
  auto made = PinFile::Create();
  if (!made.ok()) return PinFileResult(made.status());
  Fd holder(made->holder_fd);
  *out = new linchpin_pin_file{std::move(made->file), ProcessCookie()};
  *holder_fd = holder.Release();
  return 0;
}

int Attach(int fd, linchpin_pin_file** out) {
  auto made = PinFile::Attach(fd);
  if (!made.ok()) return PinFileResult(made.status());
  *out = new linchpin_pin_file{*std::move(made), ProcessCookie()};
  return 0;
}

int Close(linchpin_pin_file& pin_file) {
  if (const std::uint64_t held = pin_file.file->held(); held != 0) {
    return Fail(EBUSY, std::to_string(held) +
                           " leases of the pin file are out; release them, or revoke them by "
                           "linchpin_pin_file_revoke");
  }
  // What is not deregistered yet will be. In a forked child there is nothing to close.
  static_cast<void>(pin_file.file->Close());
  delete &pin_file;
  return 0;
}

}  // namespace
}  // namespace linchpin::c

using linchpin::c::Fail;
using linchpin::c::Guarded;
using linchpin::internal::LeaseParts;

int linchpin_pin_file_create(linchpin_pin_file** out, int* holder_fd) {
  if (out != nullptr) *out = nullptr;
  if (holder_fd != nullptr) *holder_fd = -1;
  if (out == nullptr) return Fail(EINVAL, linchpin::c::kNoOut);
  if (holder_fd == nullptr) {
    return Fail(EINVAL, "holder_fd is NULL; there is nowhere to put the holder's descriptor");
  }
  return Guarded([&] { return linchpin::c::Create(out, holder_fd); });
}

int linchpin_pin_file_attach(int fd, linchpin_pin_file** out) {
  if (out == nullptr) return Fail(EINVAL, linchpin::c::kNoOut);
  *out = nullptr;
  return Guarded([&] { return linchpin::c::Attach(fd, out); });
}

// NOLINTNEXTLINE(readability-function-size): its parameters are the contract's.
int linchpin_acquire_owned(linchpin_cache* cache, linchpin_pin_file* pin_file, const void* address,
                           size_t length, uint32_t access, struct linchpin_lease* out) {
  if (out == nullptr) return Fail(EINVAL, "the lease is NULL; there is nowhere to put it");
  *out = linchpin_lease{};
  if (cache == nullptr) return Fail(EINVAL, "the cache is NULL");
  if (pin_file == nullptr) return Fail(EINVAL, linchpin::c::kNoPinFile);
  return Guarded([&] {
    auto lease = cache->cache->Acquire(address, length, static_cast<linchpin::Access>(access),
                                       pin_file->file);
    if (lease.ok()) {
      LeaseParts::Store(*std::move(lease), *out);
      return 0;
    }
    const int result = linchpin::c::CacheResult(*cache, lease.status());
    if (result == -ECHILD) return result;
    if (linchpin::c::IsParents(*pin_file)) return -ECHILD;
    const bool ended = absl::IsFailedPrecondition(lease.status()) && !pin_file->file->alive();
    return ended ? -EPIPE : result;
  });
}

int linchpin_pin_file_revoke(linchpin_pin_file* pin_file, int timeout_ms) {
  if (pin_file == nullptr) return Fail(EINVAL, linchpin::c::kNoPinFile);
  return Guarded([&] {
    const absl::Duration timeout =
        timeout_ms < 0 ? absl::InfiniteDuration() : absl::Milliseconds(timeout_ms);
    const int result = linchpin::c::PinFileResult(pin_file->file->Revoke(timeout));
    return result != 0 && linchpin::c::IsParents(*pin_file) ? -ECHILD : result;
  });
}

int linchpin_pin_file_close(linchpin_pin_file* pin_file) {
  if (pin_file == nullptr) return Fail(EINVAL, linchpin::c::kNoPinFile);
  return Guarded([&] { return linchpin::c::Close(*pin_file); });
}
