// Two thousand pin files on one cache: each has leases of its own, and all end at once.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <vector>

#include "linchpin/cache.h"
#include "tests/pin/pin_file_client.h"
#include "tests/registrar/loopback_fixture.h"
#include "tests/testing/pins.h"

namespace linchpin {
namespace {

using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;
using testing::Owner;
using testing::PinnedBytes;
using testing::WaitFor;

constexpr int kFiles = 2000;
constexpr Access kRemoteWritable = Access::kLocalWrite | Access::kRemoteWrite;

// Two descriptors a file, and some to spare; the limit is put back.
class EnoughDescriptors final {
 public:
  EnoughDescriptors() {
    getrlimit(RLIMIT_NOFILE, &usual_);
    rlimit enough = usual_;
    enough.rlim_cur = std::max<rlim_t>(usual_.rlim_cur, 2 * kFiles + 1000);
    there_ = enough.rlim_cur <= enough.rlim_max && setrlimit(RLIMIT_NOFILE, &enough) == 0;
  }
  EnoughDescriptors(const EnoughDescriptors&) = delete;
  EnoughDescriptors& operator=(const EnoughDescriptors&) = delete;
  ~EnoughDescriptors() { setrlimit(RLIMIT_NOFILE, &usual_); }

  bool there() const { return there_; }

 private:
  rlimit usual_{};
  bool there_ = false;
};

class PinFileCache : public LoopbackTest {};

TEST_F(PinFileCache, TwoThousandFilesEndAtOnceAndTakeTheirLeasesAlong) {
  const EnoughDescriptors descriptors;
  if (!descriptors.there()) GTEST_SKIP() << "not " << 2 * kFiles << " descriptors (ulimit -Hn)";
  auto cache = RegistrationCache::Create(device_, {});
  ASSERT_TRUE(cache.ok()) << cache.status();
  const Mapped memory(kPage * 2 * kFiles);
  const std::uint64_t before = PinnedBytes();
  std::vector<Owner> files;
  std::vector<Lease> leases;
  for (int i = 0; i < kFiles; ++i) {
    files.push_back(Owner());
    for (const Access access : {Access::kLocalWrite, kRemoteWritable}) {
      const std::size_t page = leases.size();
      auto lease =
          (*cache)->Acquire(memory.data() + page * kPage, kPage, access, files.back().file);
      ASSERT_TRUE(lease.ok()) << i << ": " << lease.status();
      leases.push_back(*std::move(lease));
    }
  }
  EXPECT_EQ(PinnedBytes(), before + memory.size());
  for (Owner& held : files) held.holder.Reset(-1);
  EXPECT_TRUE(WaitFor("all revoked", [&] {
    return std::all_of(files.begin(), files.end(),
                       [](const Owner& held) { return held.file->revoked(); });
  }));
  EXPECT_EQ(PinnedBytes(), before) << "revoked, and still pinned";
  for (const Lease& lease : leases) EXPECT_EQ(lease.state(), LeaseState::kRevoked);
  EXPECT_EQ((*cache)->stats().leaked, 0U);
}

}  // namespace
}  // namespace linchpin
