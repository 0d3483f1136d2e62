// A list that outlives its mapping: what a device does by it, and that a cache never hands one out.
// The old pages stay alive and pinned throughout, so that they are nobody else's when the engine
// writes to them.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <vector>

#include "lib/base/fd.h"
#include "linchpin/cache.h"
#include "linchpin/dma_map.h"
#include "linchpin/phyr.h"
#include "tests/edu/engine_segments.h"
#include "tests/edu/fixture.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

constexpr std::size_t kBytes = 2 * kPage;
constexpr PhyrFlags kHeld = PhyrFlags::kPinned | PhyrFlags::kLongterm;

// Memory at an address at which other memory is mapped later; what was there first stays visible.
class Remapped {
 public:
  virtual ~Remapped() = default;
  virtual void Remap() = 0;
  virtual std::span<std::byte> old_pages() = 0;  // After Remap.

  std::span<std::byte> here() { return {here_, kBytes}; }
  Range range() const {
    const auto start = reinterpret_cast<std::uintptr_t>(here_);
    return {start, start + kBytes};
  }

 protected:
  std::byte* here_ = nullptr;
};

std::byte* MapAt(void* address, int flags, int fd, off_t offset) {
  void* mapped = mmap(address, kBytes, PROT_READ | PROT_WRITE, flags, fd, offset);
  return mapped == MAP_FAILED ? nullptr : static_cast<std::byte*>(mapped);
}

// A shared file of which the second half takes the place of the first, by one mmap. All of it is
// mapped a second time.
class RemappedFile final : public Remapped {
 public:
  RemappedFile() : file_(memfd_create("stale-list", MFD_CLOEXEC)) {
    if (ftruncate(file_.get(), 2 * kBytes) != 0) return;
    second_ = MapAt(nullptr, MAP_SHARED, file_.get(), 0);
    here_ = MapAt(nullptr, MAP_SHARED, file_.get(), 0);
  }
  RemappedFile(const RemappedFile&) = delete;
  RemappedFile& operator=(const RemappedFile&) = delete;
  ~RemappedFile() override {
    munmap(second_, kBytes);
    munmap(here_, kBytes);
  }
  void Remap() override {
    EXPECT_EQ(MapAt(here_, MAP_SHARED | MAP_FIXED, file_.get(), kBytes), here_);
  }
  std::span<std::byte> old_pages() override { return {second_, kBytes}; }

 private:
  Fd file_;
  std::byte* second_ = nullptr;
};

// Private memory that is moved away by mremap, whereupon other memory is mapped in its place.
class RemappedPrivate final : public Remapped {
 public:
  RemappedPrivate() : here_and_beyond_(2 * kBytes) {
    here_ = reinterpret_cast<std::byte*>(here_and_beyond_.data());
  }
  void Remap() override {
    std::byte* const beyond = here_ + kBytes;
    ASSERT_EQ(mremap(here_, kBytes, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, beyond), beyond);
    EXPECT_EQ(MapAt(here_, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), here_);
  }
  std::span<std::byte> old_pages() override { return {here_ + kBytes, kBytes}; }

 private:
  Mapped here_and_beyond_;
};

using MakeRemapped = std::function<std::unique_ptr<Remapped>()>;

class StaleLists : public EduTest, public ::testing::WithParamInterface<MakeRemapped> {
 protected:
  void SetUp() override {
    EduTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    source_ = Memory(PageKind::kSmall, kBytes);
    ASSERT_NE(source_, nullptr);
    Fill(source_->bytes(), random_);
    source_pin_ = Pin(source_->range());
    ASSERT_NE(source_pin_, nullptr);
    memory_ = GetParam()();
    ASSERT_NE(memory_->here().data(), nullptr);
    Fill(memory_->here(), random_);
  }
  void TearDown() override {
    source_pin_.reset();
    EduTest::TearDown();
  }

  PhyrList Read() {
    auto list = ReadPhyrs(memory_->range(), {.add = kHeld});
    EXPECT_TRUE(list.ok()) << list.status();
    return list.ok() ? *std::move(list) : PhyrList();
  }

  // Sends the source's bytes to where the list says.
  absl::Status SendBy(const PhyrList& list) {
    auto mapping = DmaMap(list, {.mask = EduEngine::kAddressMask, .max_segment = kPage});
    if (!mapping.ok()) return mapping.status();
    const auto segments = EngineSegments(*mapping);
    if (!segments.ok()) return segments.status();
    const std::array from = {BusRange{source_pin_->BusAddress(0), kPage},
                             BusRange{source_pin_->BusAddress(kPage), kPage}};
    absl::Status status = CopyThrough(engine(), from, *segments);
    DmaUnmap(*mapping);
    return status;
  }

  bool ArrivedIn(std::span<const std::byte> memory) const {
    return FirstDifference(memory, source_->bytes()) == kBytes;
  }

  std::unique_ptr<PageMemory> source_;
  std::unique_ptr<PinnedRange> source_pin_;
  std::unique_ptr<Remapped> memory_;
};

TEST_P(StaleLists, NameTheOldPagesAndTheBytesLandThere) {
  const auto pinned = Pin(memory_->range());
  ASSERT_NE(pinned, nullptr);
  const PhyrList list = Read();
  memory_->Remap();
  Fill(memory_->here(), random_);
  const std::vector<std::byte> before(memory_->here().begin(), memory_->here().end());
  ASSERT_EQ(SendBy(list), absl::OkStatus()) << "they are the test's pages still";
  EXPECT_TRUE(ArrivedIn(memory_->old_pages()));
  EXPECT_EQ(FirstDifference(memory_->here(), before), kBytes) << "the new pages are as they were";
  EXPECT_NE(Read(), list);
}

TEST_P(StaleLists, CannotBeHadFromACache) {
  auto cache = RegistrationCache::Create(device_->registrar());
  ASSERT_TRUE(cache.ok()) << cache.status();
  const auto acquire = [&] {
    auto lease = (*cache)->Acquire(memory_->here().data(), kBytes, Access::kLocalWrite);
    EXPECT_TRUE(lease.ok()) << lease.status();
    return lease.ok() ? *std::move(lease) : Lease();
  };
  {
    const Lease first = acquire();
    ASSERT_TRUE(first);
    const OwnedRange first_frames(owned_, memory_->range());
    ASSERT_EQ(first_frames.status(), absl::OkStatus());
    const PhyrList stale = Read();
    memory_->Remap();
    Fill(memory_->here(), random_);
    EXPECT_TRUE(WaitFor("stale", [&] { return first.state() == LeaseState::kStale; }));

    const Lease second = acquire();
    ASSERT_TRUE(second);
    EXPECT_EQ(second.state(), LeaseState::kValid);
    EXPECT_NE(second.lkey(), first.lkey());
    const OwnedRange second_frames(owned_, memory_->range());
    ASSERT_EQ(second_frames.status(), absl::OkStatus());
    const PhyrList fresh = Read();
    EXPECT_NE(fresh, stale);
    const auto old_pages = memory_->old_pages();
    const std::vector<std::byte> before(old_pages.begin(), old_pages.end());
    ASSERT_EQ(SendBy(fresh), absl::OkStatus());
    EXPECT_TRUE(ArrivedIn(memory_->here()));
    EXPECT_EQ(FirstDifference(old_pages, before), kBytes) << "the old pages are as they were";
  }
  EXPECT_EQ((*cache)->Close(absl::Seconds(30)), absl::OkStatus());
}

INSTANTIATE_TEST_SUITE_P(
    Edu, StaleLists,
    ::testing::Values(
        []() -> std::unique_ptr<Remapped> { return std::make_unique<RemappedFile>(); },
        []() -> std::unique_ptr<Remapped> { return std::make_unique<RemappedPrivate>(); }));

}  // namespace
}  // namespace linchpin::testing
