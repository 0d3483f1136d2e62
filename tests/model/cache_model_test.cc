// The cache against plain maps of what must be true, under random operations. Each page of memory
// has a version, which a change of its mapping raises; a registration is of the versions it found.
// So "stale" is a comparison of numbers, and needs no device.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"

#include "lib/base/check.h"
#include "linchpin/cache.h"
#include "linchpin/monitor.h"
#include "tests/model/settings.h"
#include "tests/testing/fake_registrar.h"
#include "tests/testing/memory.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {
namespace {

constexpr std::size_t kPages = 48;

// The model: what each registration must have seen, and what each lease was promised.
class Model {
 public:
  Model(std::uint32_t seed, CacheOptions options, Memory memory)
      : random_(seed), options_(std::move(options)), kind_(memory) {
    if (kind_ == Memory::kUnwatched) Share();
    options_.monitor = monitor_;
    registrar_->OnRegister([this](Range range, Access) { return BeforeRegister(range); });
    cache_ = *RegistrationCache::Create(registrar_, options_);
  }

  void Step() {
    switch (Draw(21)) {
      case 0:
      case 1:
        return ChangeSomething();
      case 2:
        return Trim();
      case 3:
        return InvalidateSomething();
      case 20:
        return FenceSomething();
      case 4:
      case 5:
      case 6:
      case 7:
        return ReleaseOne();
      default:
        return AcquireSomething();
    }
  }

  void CheckAll() {
    cache_->CheckInvariantsForTest();
    const CacheStats stats = cache_->stats();
    ASSERT_EQ(stats.leases, leases_.size());
    ASSERT_LE(stats.idle_bytes, MayKeep() ? options_.max_idle_bytes : 0);
    if (options_.max_held_bytes != 0) {
      ASSERT_LE(stats.held_bytes, options_.max_held_bytes);
    }
    if (options_.max_regions != 0) {
      ASSERT_LE(registrar_->registered_count(), options_.max_regions);
    }
    for (const auto& [number, held] : leases_) {
      ASSERT_TRUE(registrar_->IsAlive(held.lease.lkey())) << "a held region was deregistered";
      const bool must = VersionsOf(held.lease.range()) != held.versions;
      const bool may = held.changes.Overlaps(held.lease.range());
      ASSERT_TRUE(may || !must);
      ASSERT_EQ(held.lease.state(), may ? LeaseState::kStale : LeaseState::kValid);
    }
  }

  void Finish() {
    leases_.clear();
    failing_ = false;
    ASSERT_TRUE(cache_->Drain(absl::Seconds(30)).ok());
    ASSERT_EQ(registrar_->registered_count(), 0u);
    const CacheStats stats = cache_->stats();
    ASSERT_EQ(stats.registrations, stats.deregistrations);
    ASSERT_EQ(stats.bytes, 0u);
  }

  const CacheStats stats() const { return cache_->stats(); }

 private:
  struct Held {
    Lease lease;
    std::vector<int> versions;
    Range changes;  // The hull of what changed of the memory registered with it.
  };

  std::size_t Draw(std::size_t below) { return random_() % below; }

  // The manual monitor watches nothing that is shared.
  void Share() {
    constexpr int kShared = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;
    void* const shared =
        mmap(memory_.data(), memory_.size(), PROT_READ | PROT_WRITE, kShared, -1, 0);
    LINCHPIN_CHECK(shared == memory_.data());
  }

  bool MayKeep() const {
    return options_.mode == Mode::kOn &&
           (kind_ == Memory::kWatched || options_.unwatched == Unwatched::kTrust);
  }

  Range DrawRange() {
    const std::size_t start = Draw(memory_.size() - 1);
    const std::size_t most = Draw(4) == 0 ? memory_.size() - start : 3 * kPage;
    const std::size_t length = 1 + Draw(std::min(most, memory_.size() - start));
    return {memory_.start() + start, memory_.start() + start + length};
  }

  Access DrawAccess() {
    static constexpr Access kChoices[] = {
        Access::kLocalRead,
        Access::kLocalWrite,
        Access::kLocalWrite,
        Access::kLocalWrite | Access::kMwBind,
        Access::kLocalWrite | Access::kRelaxedOrdering,
        Access::kLocalWrite | Access::kOnDemand,
        Access::kRemoteRead,
        Access::kLocalWrite | Access::kRemoteWrite,
    };
    return kChoices[Draw(std::size(kChoices))];
  }

  std::vector<int> VersionsOf(const Range& range) const {
    const std::size_t first = (range.start - memory_.start()) / kPage;
    const std::size_t last = (range.end - 1 - memory_.start()) / kPage;
    return {versions_.begin() + static_cast<std::ptrdiff_t>(first),
            versions_.begin() + static_cast<std::ptrdiff_t>(last) + 1};
  }

  void Change(const Range& range) {
    for (std::size_t page = 0; page < kPages; ++page) {
      const std::uintptr_t start = memory_.start() + page * kPage;
      if (range.Overlaps({start, start + kPage})) ++versions_[page];
    }
    // The kernel tells of whole pages.
    const Range pages{range.start & ~(kPage - 1), (range.end + kPage - 1) & ~(kPage - 1)};
    monitor_->Changed(pages);
    Remember(pages);
  }

  // Refuses now and then, and now and then lets the mapping change under the registration.
  absl::Status BeforeRegister(Range range) {
    if (failing_ && Draw(12) == 0) return absl::ResourceExhaustedError("ENOMEM");
    if (failing_ && Draw(30) == 0) return absl::FailedPreconditionError("EFAULT");
    if (failing_ && Draw(12) == 0) Change(range);
    return absl::OkStatus();
  }

  void AcquireSomething() {
    const Range range = DrawRange();
    const Access access = DrawAccess();
    auto lease = cache_->Acquire(reinterpret_cast<void*>(range.start), range.size(), access);
    if (!lease.ok()) {
      ASSERT_TRUE(absl::IsResourceExhausted(lease.status()) ||
                  absl::IsFailedPrecondition(lease.status()) || absl::IsAborted(lease.status()))
          << lease.status();
      return;
    }
    CheckPromise(*lease, range, access);
    leases_.emplace(next_lease_++, Held{*std::move(lease), VersionsOf(range), {}});
    if (leases_.size() > 30) ReleaseOne();
  }

  // A new lease is valid, alive, covers what was asked for with the rights asked for and the same
  // ordering, and reaches exactly the bytes asked for if a peer can.
  void CheckPromise(const Lease& lease, const Range& range, Access access) {
    ASSERT_EQ(lease.range(), range);
    ASSERT_EQ(lease.state(), LeaseState::kValid) << "a stale region was handed out";
    ASSERT_TRUE(MayKeep() || !lease.cached());
    bool found = false;
    for (const Registration& made : registrar_->registered()) {
      if (made.keys[0].lkey != lease.lkey()) continue;
      found = true;
      ASSERT_TRUE(made.range.Contains(range));
      ASSERT_EQ(made.range, lease.registered());
      ASSERT_EQ(made.access & access, access);
      constexpr Access kKind = Access::kOnDemand | Access::kRelaxedOrdering;
      ASSERT_EQ(made.access & (kKind | kRemoteRights), access & (kKind | kRemoteRights));
      if (Any(access & kRemoteRights)) {
        ASSERT_EQ(made.range, range);
        ASSERT_EQ(made.access, access);
      }
    }
    ASSERT_TRUE(found) << "a dead key was handed out";
  }

  void ReleaseOne() {
    if (leases_.empty()) return;
    auto victim = leases_.begin();
    std::advance(victim, static_cast<std::ptrdiff_t>(Draw(leases_.size())));
    leases_.erase(victim);
  }

  void ChangeSomething() { Change(DrawRange()); }

  void InvalidateSomething() {
    const Range range = DrawRange();
    cache_->Invalidate(reinterpret_cast<void*>(range.start), range.size());
    Remember(range);
  }

  // Refused while a lease holds what is registered of it; else nothing of it is left on the device.
  void FenceSomething() {
    const Range range = DrawRange();
    const bool held = std::any_of(leases_.begin(), leases_.end(), [&](const auto& entry) {
      return entry.second.lease.registered().Overlaps(range);
    });
    const absl::Status fenced = cache_->Fence(reinterpret_cast<void*>(range.start), range.size(),
                                              held ? absl::ZeroDuration() : absl::Seconds(30));
    Remember(range);
    ASSERT_EQ(fenced.code(), held ? absl::StatusCode::kDeadlineExceeded : absl::StatusCode::kOk)
        << fenced;
    if (held) return;
    for (const Registration& made : registrar_->registered()) {
      ASSERT_FALSE(made.range.Overlaps(range)) << "the device can still reach it";
    }
  }

  void Remember(const Range& range) {
    for (auto& [number, held] : leases_) {
      if (!held.lease.registered().Overlaps(range)) continue;
      held.changes = held.changes.empty() ? range
                                          : Range{std::min(held.changes.start, range.start),
                                                  std::max(held.changes.end, range.end)};
    }
  }

  void Trim() {
    const std::size_t keep = Draw(20) * kPage;
    ASSERT_LE(cache_->Trim(keep), keep);
  }

  std::mt19937 random_;
  CacheOptions options_;
  const Memory kind_;
  Mapped memory_{kPages * kPage};
  std::vector<int> versions_ = std::vector<int>(kPages);
  bool failing_ = true;
  std::shared_ptr<FakeRegistrar> registrar_ = std::make_shared<FakeRegistrar>();
  std::shared_ptr<ManualMonitor> monitor_ = std::make_shared<ManualMonitor>();
  std::unique_ptr<RegistrationCache> cache_;
  std::map<int, Held> leases_;
  int next_lease_ = 0;
};

class CacheModel : public ::testing::TestWithParam<int> {};

TEST_P(CacheModel, HoldsUnderRandomOperations) {
  const char* given = std::getenv("LINCHPIN_TEST_SEED");
  const std::uint32_t seed = given != nullptr
                                 ? static_cast<std::uint32_t>(std::strtoul(given, nullptr, 0))
                                 : std::random_device()();
  std::printf("seed %u; repeat with LINCHPIN_TEST_SEED=%u\n", seed, seed);
  const Setting setting = SettingOf(GetParam(), seed);
  Model model(seed, setting.options, setting.memory);
  for (int step = 0; step < 6000; ++step) {
    ASSERT_NO_FATAL_FAILURE(model.Step()) << "step " << step;
    ASSERT_NO_FATAL_FAILURE(model.CheckAll()) << "step " << step;
  }
  const CacheStats stats = model.stats();
  std::printf("%lu hits, %lu misses, %lu retries, %lu evictions, %lu invalidations, %lu failures\n",
              stats.hits, stats.misses, stats.retries, stats.evictions, stats.invalidations,
              stats.failures);
  EXPECT_GT(stats.misses, 0u);
  EXPECT_GT(stats.retries, 0u);
  EXPECT_GT(stats.invalidations, 0u);
  ASSERT_NO_FATAL_FAILURE(model.Finish());
}

INSTANTIATE_TEST_SUITE_P(Options, CacheModel, ::testing::Range(0, kSettings));

}  // namespace
}  // namespace linchpin::testing
