#include "lib/c/cache_options.h"

#include <cerrno>
#include <string>

#include "lib/c/handles.h"
#include "lib/c/last_error.h"
#include "lib/c/sized_struct.h"

namespace linchpin::c {
namespace {

static_assert(LINCHPIN_MODE_ON == static_cast<int>(Mode::kOn));
static_assert(LINCHPIN_MODE_OFF == static_cast<int>(Mode::kOff));
static_assert(LINCHPIN_STRICT == static_cast<int>(Freshness::kStrict));
static_assert(LINCHPIN_SYNCHRONISED == static_cast<int>(Freshness::kSynchronised));
static_assert(static_cast<int>(Unwatched::kDrop) == 0);
static_assert(static_cast<int>(Unwatched::kTrust) == 1);
static_assert(static_cast<int>(IdleRemote::kDeregister) == 0);
static_assert(static_cast<int>(IdleRemote::kKeep) == 1);

// Each choice is 0 or 1.
template <typename Choice>
int Choose(std::uint32_t value, const char* name, Choice& choice) {
  if (value > 1) {
    return Fail(EINVAL, std::string("linchpin_cache_options.") + name + " is " +
                            std::to_string(value) + "; choose 0 or 1");
  }
  choice = static_cast<Choice>(value);
  return 0;
}

}  // namespace

int ReadOptions(const linchpin_cache_options* given, CacheOptions& options,
                linchpin_monitor*& monitor) {
  linchpin_cache_options known{};
  monitor = nullptr;
  int error = given == nullptr ? 0 : CopyIn(given, "linchpin_cache_options", known);
  if (error == 0) error = Choose(known.mode, "mode", options.mode);
  if (error == 0) error = Choose(known.freshness, "freshness", options.freshness);
  if (error == 0) error = Choose(known.trust_unwatched, "trust_unwatched", options.unwatched);
  if (error == 0) error = Choose(known.keep_idle_remote, "keep_idle_remote", options.idle_remote);
  if (error != 0) return error;
  options.max_idle_bytes = known.max_idle_bytes;
  options.max_regions = known.max_regions;
  monitor = known.monitor;
  if (monitor != nullptr) options.monitor = monitor->monitor;
  return 0;
}

}  // namespace linchpin::c
