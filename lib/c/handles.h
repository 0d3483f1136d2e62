// The objects behind the C ABI's opaque handles.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"

#include "lib/base/process.h"
#include "lib/c/last_error.h"
#include "linchpin/c.h"
#include "linchpin/cache.h"
#include "linchpin/monitor.h"
#include "linchpin/pin_file.h"
#include "linchpin/registrar.h"

// NOLINTBEGIN(readability-identifier-naming): c.h names them.

// `users`: the caches that were opened with the handle and are not closed yet. It is no reference
// count, the shared pointer has one: it only says whether the handle may be closed.
struct linchpin_registrar {
  const std::shared_ptr<linchpin::Registrar> registrar;
  std::atomic<std::uint64_t> users = 0;
};

struct linchpin_monitor {
  const std::shared_ptr<linchpin::ManualMonitor> monitor =
      std::make_shared<linchpin::ManualMonitor>();
  std::atomic<std::uint64_t> users = 0;
};

struct linchpin_cache {
  const std::unique_ptr<linchpin::RegistrationCache> cache;
  linchpin_registrar* const registrar;
  linchpin_monitor* const monitor;  // Null: the process's own.
  const std::uint64_t process;      // The cookie of the process that opened it.
};

struct linchpin_pin_file {
  const std::shared_ptr<linchpin::PinFile> file;
  const std::uint64_t process;  // The cookie of the process that made it.
};

// NOLINTEND(readability-identifier-naming)

namespace linchpin::c {

// Whether this process is a forked child of the one that opened the cache.
inline bool Inherited(const linchpin_cache& cache) {
  return cache.process != ProcessCookie();
}

// Result, for what a cache answered. In a forked child every refusal is for that reason.
inline int CacheResult(const linchpin_cache& cache, const absl::Status& status) noexcept {
  const int result = Result(status);
  return result != 0 && Inherited(cache) ? -ECHILD : result;
}

}  // namespace linchpin::c
