// Auditing: a change of the mapping that no monitor tells of is found by the next hit.
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/fd.h"
#include "lib/pin/frame_map.h"
#include "lib/pin/page_frames.h"
#include "linchpin/loopback.h"
#include "tests/cache/fixture.h"
#include "tests/cache/reuse_window.h"
#include "tests/testing/child.h"

namespace linchpin::testing {
namespace {

std::uint64_t FrameAt(const char* page) {
  const auto frames = internal::ReadPageFrames(*Range::Of(page, 1));
  EXPECT_TRUE(frames.ok()) << frames.status();
  return frames.ok() ? frames->front() : 0;
}

// Puts a new page where there was another, as munmap and mmap do; nobody is told. The new one is
// there before the old one goes, so that it cannot be the very same frame again.
void Swap(char* page) {
  void* const fresh =
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(fresh, MAP_FAILED);
  std::memset(fresh, 'n', kPage);
  ASSERT_EQ(mremap(fresh, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, page), page);
}

// What LINCHPIN_AUDIT says, while it lives.
class Environment final {
 public:
  explicit Environment(const char* word) {
    if (const char* const before = getenv(kName)) before_ = before;
    Set(word);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { Set(before_ ? before_->c_str() : nullptr); }

 private:
  static constexpr const char* kName = "LINCHPIN_AUDIT";
  static void Set(const char* word) {
    EXPECT_EQ(word == nullptr ? unsetenv(kName) : setenv(kName, word, 1), 0);
  }

  std::optional<std::string> before_;
};

class Auditing : public CacheFixture {
 protected:
  void SetUp() override {
    const absl::Status readable = internal::OpenPageMapWithFrames().status();
    if (!readable.ok()) GTEST_SKIP() << readable;
    std::memset(memory_.data(), 'o', memory_.size());
  }

  void MakeWith(CacheOptions options) {
    if (options.audit == Audit::kDefault) options.audit = Audit::kEnds;
    options.on_audit = [this](const AuditFinding& finding) {
      findings_.push_back(finding);
      if (in_callback_) in_callback_();
    };
    Make(std::move(options));
  }

  char* page(std::size_t index) { return memory_.data() + index * kPage; }
  Range pages() const { return {memory_.start(), memory_.start() + memory_.size()}; }

  // Whether the next hit on all pages finds that one of them was swapped.
  void ExpectFound(const std::function<Lease()>& get) {
    const std::uint32_t old = get().lkey();
    const std::uint64_t then = FrameAt(page(0));
    Swap(page(0));
    const Lease lease = get();
    ASSERT_EQ(findings_.size(), 1u);
    EXPECT_EQ(findings_[0].page, RangeAt(page(0), kPage));
    EXPECT_EQ(findings_[0].frame_then, then);
    EXPECT_EQ(findings_[0].frame_now, FrameAt(page(0)));
    EXPECT_NE(findings_[0].frame_now, then);
    EXPECT_TRUE(findings_[0].registered.Contains(findings_[0].asked));
    EXPECT_EQ(findings_[0].device, "registrar");
    EXPECT_NE(lease.lkey(), old);
    EXPECT_EQ(lease.state(), LeaseState::kValid);
    EXPECT_TRUE(WaitFor("the old one gone", [&] { return !registrar_->IsAlive(old); }));
    EXPECT_EQ(cache_->stats().invalidations, 1u);
    get();
    EXPECT_EQ(cache_->stats().audits, 2u) << "and the new one stands it";
    expected_findings_ = 1;
  }

  Mapped memory_{4 * kPage};
  std::vector<AuditFinding> findings_;
  std::function<void()> in_callback_;
};

TEST_F(Auditing, AHitWithoutALockFindsIt) {
  for (const Freshness freshness : {Freshness::kStrict, Freshness::kSynchronised}) {
    MakeWith({.freshness = freshness});
    ExpectFound([&] { return Get(page(0), 100, kWrite); });
    EXPECT_LT(cache_->stats().locked_hits, cache_->stats().hits);
    findings_.clear();
  }
}

TEST_F(Auditing, AHitUnderTheMutexFindsIt) {
  MakeWith({.max_held_bytes = 1 << 20});
  ExpectFound([&] { return Get(page(0), 100, kWrite); });
  EXPECT_EQ(cache_->stats().locked_hits, cache_->stats().hits);
}

TEST_F(Auditing, AHitOnARemoteKeyFindsIt) {
  MakeWith({.idle_remote = IdleRemote::kKeep});
  ExpectFound([&] { return Get(page(0), 100, kRemote); });
}

TEST_F(Auditing, AnOwnersLeaseFindsIt) {
  MakeWith({});
  const Owner owner;
  ExpectFound([&] { return GetFor(owner, page(0), 100, kWrite); });
}

TEST_F(Auditing, OneOfManyFindsIt) {
  MakeWith({});
  Get(page(2), kPage, kWrite);
  ExpectFound([&] {
    auto leases = cache_->AcquireMany(std::array{RangeAt(page(0), 8)}, kWrite);
    EXPECT_TRUE(leases.ok()) << leases.status();
    return std::move(leases->front());
  });
  const std::array three{RangeAt(page(0), 8), RangeAt(page(2), 8), RangeAt(page(0), 16)};
  const std::uint32_t intact = Get(page(2), kPage, kWrite).lkey();
  Swap(page(0));
  const auto leases = cache_->AcquireMany(three, kWrite);
  ASSERT_TRUE(leases.ok()) << leases.status();
  EXPECT_EQ(findings_.size(), 2u) << "the second lease on it had been taken out with the first";
  EXPECT_EQ((*leases)[1].lkey(), intact);
  EXPECT_EQ((*leases)[0].lkey(), (*leases)[2].lkey());
  for (const Lease& lease : *leases) EXPECT_EQ(lease.state(), LeaseState::kValid);
  expected_findings_ = 2;
}

TEST_F(Auditing, EndsAreTheFirstAndTheLastPageOfTheRequest) {
  MakeWith({.audit = Audit::kEnds});
  Get(page(0), 4 * kPage, kWrite);
  Swap(page(1));
  Get(page(0), 4 * kPage, kWrite);
  EXPECT_TRUE(findings_.empty()) << "not looked at";
  Get(page(2), 2 * kPage, kWrite);
  EXPECT_TRUE(findings_.empty()) << "beside the request";
  Get(page(0) + 100, kPage, kWrite);
  ASSERT_EQ(findings_.size(), 1u);
  EXPECT_EQ(findings_[0].page, RangeAt(page(1), kPage));
  expected_findings_ = 1;
}

TEST_F(Auditing, AllIsEachPageOfTheRequest) {
  MakeWith({.audit = Audit::kAll});
  Get(page(0), 4 * kPage, kWrite);
  Swap(page(2));
  Get(page(0), 2 * kPage, kWrite);
  EXPECT_TRUE(findings_.empty()) << "beside the request";
  Get(page(0), 4 * kPage, kWrite);
  ASSERT_EQ(findings_.size(), 1u);
  EXPECT_EQ(findings_[0].page, RangeAt(page(2), kPage));
  EXPECT_EQ(findings_[0].asked, pages());
  expected_findings_ = 1;
}

TEST_F(Auditing, WhatWasNotThereAtTheRegistrationIsNotCompared) {
  MakeWith({.audit = Audit::kAll});
  const Mapped untouched(kPage);
  Get(untouched.data(), kPage, kWrite);
  std::memset(untouched.data(), 1, kPage);
  Get(untouched.data(), kPage, kWrite);
  EXPECT_EQ(cache_->stats().audits, 1u);
  EXPECT_EQ(cache_->stats().unaudited, 0u);
}

TEST_F(Auditing, OnDemandMemoryMayMove) {
  MakeWith({});
  const std::uint32_t lkey = Get(page(0), kPage, kWrite | Access::kOnDemand).lkey();
  Swap(page(0));
  EXPECT_EQ(Get(page(0), kPage, kWrite | Access::kOnDemand).lkey(), lkey);
  EXPECT_EQ(cache_->stats().audits, 0u);
}

TEST_F(Auditing, PrivateMemoryThatWasDiscardedHasNoFrame) {
  MakeWith({});
  Get(page(0), kPage, kWrite);
  const std::uint64_t then = FrameAt(page(0));
  ASSERT_EQ(madvise(page(0), kPage, MADV_DONTNEED), 0);
  Get(page(0), kPage, kWrite);
  ASSERT_EQ(findings_.size(), 1u);
  EXPECT_EQ(findings_[0].frame_then, then);
  EXPECT_EQ(findings_[0].frame_now, 0u);
  expected_findings_ = 1;
}

TEST_F(Auditing, AChangeThatIsToldIsNone) {
  MakeWith({});
  const std::uint32_t lkey = Get(page(0), kPage, kWrite).lkey();
  monitor_->Changed(RangeAt(page(0), kPage));
  Swap(page(0));
  EXPECT_NE(Get(page(0), kPage, kWrite).lkey(), lkey);
  EXPECT_EQ(cache_->stats().audits, 0u);
}

TEST_F(Auditing, DifferencesWithoutAnEndAreAborted) {
  MakeWith({});
  in_callback_ = [&] {
    const auto inner = std::exchange(in_callback_, nullptr);
    EXPECT_TRUE(cache_->Acquire(page(0), kPage, kWrite).ok()) << "the callback may use the cache";
    Swap(page(0));
    in_callback_ = inner;
  };
  Get(page(0), kPage, kWrite);
  Swap(page(0));
  const absl::Status ended = cache_->Acquire(page(0), kPage, kWrite).status();
  EXPECT_EQ(ended.code(), absl::StatusCode::kAborted) << ended;
  in_callback_ = nullptr;
  expected_findings_ = findings_.size();
  EXPECT_GE(findings_.size(), 4u);
  EXPECT_LE(findings_.size(), 5u) << "of which one without the mutex";
}

TEST_F(Auditing, ACacheIsNotAuditedUnlessAsked) {
  const Environment environment("ends");
  Make({.audit = Audit::kNone});
  Get(page(0), kPage, kWrite);
  Get(page(0), kPage, kWrite);
  EXPECT_EQ(cache_->stats().audits, 0u);
}

TEST_F(Auditing, TheEnvironmentAsksForIt) {
  const std::pair<const char*, std::uint64_t> expected[] = {
      {"ends", 1}, {"all", 1}, {"none", 0}, {"", 0}, {"often", 0}, {nullptr, 0}};
  for (const auto& [word, audits] : expected) {
    const Environment environment(word);
    Make();
    Get(page(0), kPage, kWrite);
    Get(page(0), kPage, kWrite);
    EXPECT_EQ(cache_->stats().audits, audits) << (word == nullptr ? "unset" : word);
  }
}

// Of the calling thread alone.
void GiveUpSysAdmin() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  EXPECT_EQ(syscall(SYS_capget, &header, sets.data()), 0);
  sets[0].effective &= ~(1U << CAP_SYS_ADMIN);
  EXPECT_EQ(syscall(SYS_capset, &header, sets.data()), 0);
}

TEST_F(Auditing, WithoutPrivilegeACacheWorksAndCountsWhatItCannotSee) {
  std::thread unprivileged([&] {
    GiveUpSysAdmin();
    EXPECT_TRUE(absl::IsPermissionDenied(internal::OpenPageMapWithFrames().status()));
    MakeWith({});
  });
  unprivileged.join();
  ASSERT_NE(cache_, nullptr);
  const std::uint32_t lkey = Get(page(0), kPage, kWrite).lkey();
  Get(page(2), kPage, kWrite | Access::kOnDemand);
  Swap(page(0));
  EXPECT_EQ(Get(page(0), kPage, kWrite).lkey(), lkey);
  EXPECT_EQ(cache_->stats().audits, 0u);
  EXPECT_EQ(cache_->stats().unaudited, 1u) << "on demand there is nothing to see";
}

// What was open when the process was privileged stays open.
TEST_F(Auditing, PrivilegeIsNeededWhenTheCacheIsMadeAndNotLater) {
  MakeWith({});
  Get(page(0), 100, kWrite);
  Swap(page(0));
  std::thread unprivileged([&] {
    GiveUpSysAdmin();
    Get(page(0), 100, kWrite);
  });
  unprivileged.join();
  EXPECT_EQ(findings_.size(), 1u);
  expected_findings_ = 1;
}

int OpenPageMaps() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (target.ends_with("/pagemap")) ++count;
  }
  return count;
}

TEST_F(Auditing, AForkedChildHasNoPageMapOfItsParent) {
  MakeWith({});
  Get(page(0), kPage, kWrite);
  EXPECT_GE(OpenPageMaps(), 1);
  EXPECT_EQ(RunInChild([&]() -> Complaint {
              if (OpenPageMaps() != 0) return "there is one";
              const auto lease = cache_->Acquire(page(0), kPage, kWrite);
              return absl::IsFailedPrecondition(lease.status()) ? "" : "the child has a lease";
            }),
            "");
}

// With a device, whose pins hold the old pages.
class AuditedBytes : public Auditing {
 protected:
  void SetUp() override {
    Auditing::SetUp();
    if (IsSkipped()) return;
    auto device = LoopbackDevice::Create();
    if (absl::IsUnavailable(device.status())) GTEST_SKIP() << device.status();
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
  }

  void MakeOnDevice(CacheOptions options) {
    options.max_idle_bytes = 1 << 20;
    if (options.monitor == nullptr) options.monitor = monitor_;
    options.on_audit = [this](const AuditFinding& finding) { findings_.push_back(finding); };
    auto cache = RegistrationCache::Create(device_, std::move(options));
    ASSERT_TRUE(cache.ok()) << cache.status();
    on_device_ = *std::move(cache);
  }

  absl::StatusOr<Lease> Acquire(char* at, Access access = kWrite) {
    return on_device_->Acquire(at, kPage, access);
  }

  // What the device reads at `at`, through the cache.
  char Sent(char* at) {
    const auto from = Acquire(at);
    const auto to = Acquire(page(3), kWrite | Access::kRemoteWrite);
    EXPECT_TRUE(from.ok() && to.ok()) << from.status() << to.status();
    if (!from.ok() || !to.ok()) return 0;
    const std::array<LocalExtent, 1> extent{{{at, kPage, from->lkey()}}};
    const RemoteExtent target{reinterpret_cast<std::uintptr_t>(page(3)), to->rkey()};
    EXPECT_EQ(device_->Write(extent, target), Completion::kSuccess);
    return *page(3);
  }

  // munmap, and mmap at the same place.
  static void Renew(char* at, char byte) {
    ASSERT_EQ(munmap(at, kPage), 0);
    ASSERT_EQ(mmap(at, kPage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
              at);
    std::memset(at, byte, kPage);
  }

  std::shared_ptr<LoopbackDevice> device_;
  std::unique_ptr<RegistrationCache> on_device_;
};

TEST_F(AuditedBytes, AreThoseOfTheNewMemory) {
  for (const Audit audit : {Audit::kNone, Audit::kEnds, Audit::kAll}) {
    findings_.clear();
    MakeOnDevice({.unwatched = Unwatched::kTrust, .audit = audit});
    Renew(page(0), 'a');
    EXPECT_EQ(Sent(page(0)), 'a');
    const std::uint64_t then = FrameAt(page(0));
    Renew(page(0), 'b');
    if (audit == Audit::kNone) {
      EXPECT_EQ(Sent(page(0)), 'a') << "so the danger is real";
      continue;
    }
    EXPECT_EQ(Sent(page(0)), 'b');
    ASSERT_EQ(findings_.size(), 1u);
    EXPECT_EQ(findings_[0].frame_then, then);
    EXPECT_EQ(findings_[0].frame_now, FrameAt(page(0)));
    EXPECT_EQ(findings_[0].device, "loopback");
    EXPECT_EQ(on_device_->stats().audit_findings, 1u);
  }
}

TEST_F(AuditedBytes, GuardPagesAreFoundWhichTheKernelTellsNobodyOf) {
  constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL, 6.13+.
  constexpr int kGuardRemove = 103;
  const auto shared = MemoryMonitor::Shared();
  if (!shared->status().ok()) GTEST_SKIP() << shared->status();
  if (madvise(page(1), kPage, kGuardInstall) != 0) GTEST_SKIP() << "no MADV_GUARD_INSTALL";
  ASSERT_EQ(madvise(page(1), kPage, kGuardRemove), 0);
  std::memset(page(0), 'a', 2 * kPage);
  MakeOnDevice({.monitor = shared, .audit = Audit::kEnds});
  EXPECT_EQ(Sent(page(0)), 'a');
  ASSERT_EQ(madvise(page(0), kPage, kGuardInstall), 0);
  ASSERT_EQ(madvise(page(0), kPage, kGuardRemove), 0);
  std::memset(page(0), 'b', kPage);
  EXPECT_EQ(Sent(page(0)), 'b');
  ASSERT_EQ(findings_.size(), 1u);
  EXPECT_NE(findings_[0].frame_now, 0u);
}

TEST_F(AuditedBytes, AFilesPageMayBeGoneFromThePageTableButNotFromTheFile) {
  MakeOnDevice({.unwatched = Unwatched::kTrust, .audit = Audit::kEnds});
  const Fd file(memfd_create("audited", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), kPage), 0);
  ASSERT_EQ(mmap(page(0), kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.get(), 0),
            page(0));
  std::memset(page(0), 'a', kPage);
  EXPECT_EQ(Sent(page(0)), 'a');
  ASSERT_EQ(madvise(page(0), kPage, MADV_DONTNEED), 0);
  EXPECT_EQ(FrameAt(page(0)), 0u);
  EXPECT_EQ(Sent(page(0)), 'a');
  EXPECT_EQ(on_device_->stats().audit_findings, 0u);
  ASSERT_EQ(ftruncate(file.get(), 0), 0);
  ASSERT_EQ(ftruncate(file.get(), kPage), 0);
  std::memset(page(0), 'b', kPage);
  EXPECT_EQ(Sent(page(0)), 'b');
  EXPECT_EQ(on_device_->stats().audit_findings, 1u);
}

// Another thread was given the address before the monitor told; docs/concurrency.md, A1.
TEST_F(AuditedBytes, AnUnmappingThatTheMonitorIsYetToTellIsNoFinding) {
  const auto delayed = std::make_shared<DelayedMonitor>(std::chrono::nanoseconds(500));
  MakeOnDevice({.freshness = Freshness::kSynchronised, .monitor = delayed, .audit = Audit::kEnds});
  ReuseWindow window(*on_device_, *delayed);
  const auto is_old = [&](const Lease& lease) { return lease.lkey() == window.old_lkey(); };
  EXPECT_EQ(window.CountOld(50, is_old), 0) << "seen all the same, and not handed out";
  EXPECT_GT(on_device_->stats().audits, 0u);
  EXPECT_EQ(on_device_->stats().audit_findings, 0u);
}

TEST_F(AuditedBytes, TheFramesOfPinsAreCountedUntilTheyAreDeregistered) {
  internal::FrameMap& map = internal::FrameMap::OfProcess();
  const std::size_t before = map.size();
  MakeOnDevice({.audit = Audit::kEnds});
  const std::uint64_t frame = FrameAt(page(0));
  {
    const auto local = Acquire(page(0));
    ASSERT_TRUE(local.ok()) << local.status();
    EXPECT_EQ(map.size(), before + 1);
    const auto remote = Acquire(page(0), kWrite | Access::kRemoteWrite);
    ASSERT_TRUE(remote.ok()) << remote.status();
    EXPECT_EQ(map.FindShared({frame}), std::vector<bool>{true});
  }
  ASSERT_TRUE(on_device_->Drain(absl::Seconds(30)).ok());
  EXPECT_EQ(map.size(), before);
}

}  // namespace
}  // namespace linchpin::testing
