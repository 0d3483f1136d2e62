// Tests of many pin files, of forked children, and of what happens when descriptors or threads run
// out.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/fd.h"
#include "tests/pin/pin_file_client.h"
#include "tests/testing/child.h"
#include "tests/testing/pins.h"
#include "tests/testing/threads.h"

namespace linchpin {
namespace {

using testing::AwaitSleepOfOtherThreads;
using testing::Complaint;
using testing::FakeClient;
using testing::Owner;
using testing::RunInChild;
using testing::SetLimit;
using testing::WaitFor;

TEST(PinFileLimits, TwoThousandEndAtOnceAndOthersDoNot) {
  SetLimit(RLIMIT_NOFILE, 8192);
  constexpr int kFiles = 2000;
  std::vector<Owner> files;
  std::vector<std::unique_ptr<FakeClient>> clients;
  const Owner other = Owner();
  FakeClient others;
  ASSERT_TRUE(others.Begin(*other.file).ok());
  for (int i = 0; i < kFiles; ++i) {
    files.push_back(Owner({.grace = absl::Milliseconds(i % 50)}));
    ASSERT_NE(files.back().file, nullptr);
    clients.push_back(std::make_unique<FakeClient>());
    ASSERT_TRUE(clients.back()->Begin(*files.back().file).ok());
  }
  for (Owner& held : files) held.holder.Reset(-1);
  EXPECT_TRUE(WaitFor("2,000 closed to 2,000 revoked", [&] {
    return std::all_of(files.begin(), files.end(),
                       [](const Owner& held) { return held.file->revoked(); });
  }));
  EXPECT_TRUE(WaitFor("their claims ended", [&] {
    return std::all_of(clients.begin(), clients.end(),
                       [](const auto& client) { return client->claims() == 0; });
  }));
  EXPECT_TRUE(other.file->alive());
  EXPECT_EQ(others.claims(), 1);
  others.EndAll();
}

TEST(PinFileLimits, InAForkedChildItIsInertAndTheChildMayMakeItsOwn) {
  Owner held = Owner();
  FakeClient client;
  ASSERT_TRUE(client.Begin(*held.file).ok());
  AwaitSleepOfOtherThreads();
  const Complaint complaint = RunInChild([&]() -> Complaint {
    if (held.file->alive() || held.file->revoked()) return "alive or revoked";
    if (!absl::IsFailedPrecondition(held.file->Revoke(absl::ZeroDuration()))) return "Revoke";
    if (!absl::IsFailedPrecondition(held.file->Close())) return "Close";
    if (!absl::IsFailedPrecondition(held.file->Sync())) return "Sync";
    client.EndAll();
    held.file.reset();
    held.holder.Reset(-1);
    Owner own = Owner();
    if (own.file == nullptr || !own.file->alive()) return "its own is not alive";
    FakeClient owns;
    if (!owns.Begin(*own.file).ok()) return "BeginClaim";
    own.holder.Reset(-1);
    if (!WaitFor("in the child", [&] { return owns.claims() == 0; })) return "not revoked";
    return "";
  });
  EXPECT_EQ(complaint, "");
  EXPECT_TRUE(held.file->alive());
  EXPECT_EQ(client.claims(), 1);
  EXPECT_EQ(client.revocations, 0);
  client.EndAll();
}

int OpenDescriptors() {
  int open = 0;
  for (int fd = 0; fd < 256; ++fd) open += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return open;
}

// In a child, where the watcher does not run yet. At each limit from none to enough.
TEST(PinFileLimits, WithoutDescriptorsNothingIsMadeAndNothingIsLeftBehind) {
  AwaitSleepOfOtherThreads();
  EXPECT_EQ(RunInChild([]() -> Complaint {
              const int before = OpenDescriptors();
              const int lowest = dup(0);
              close(lowest);
              for (int spare = 0; spare < 20; ++spare) {
                SetLimit(RLIMIT_NOFILE, static_cast<rlim_t>(lowest + spare));
                auto created = PinFile::Create();
                if (created.ok()) {
                  close(created->holder_fd);
                  return spare >= 5 ? "" : "made out of nothing";
                }
                if (!absl::IsResourceExhausted(created.status()))
                  return created.status().ToString();
                if (created.status().message().find("ulimit -n") == absl::string_view::npos) {
                  return "no remedy: " + created.status().ToString();
                }
                if (OpenDescriptors() != before && spare < 5) return "a descriptor was left";
              }
              return "never made";
            }),
            "");
}

TEST(PinFileLimits, WithoutADescriptorNothingIsAttachedOrGuarded) {
  AwaitSleepOfOtherThreads();
  EXPECT_EQ(RunInChild([]() -> Complaint {
              const Owner held = Owner();  // Something to attach to; and the watcher runs.
              const Fd memory(memfd_create("guarded", MFD_CLOEXEC | MFD_ALLOW_SEALING));
              const int lowest = dup(0);
              close(lowest);
              SetLimit(RLIMIT_NOFILE, static_cast<rlim_t>(lowest));
              const absl::Status attached = PinFile::Attach(held.holder.get()).status();
              if (!absl::IsResourceExhausted(attached)) return attached.ToString();
              const absl::Status guarded =
                  BackingGuard::Create(memory.get(), BackingGuard::Kind::kSeal).status();
              if (!absl::IsResourceExhausted(guarded)) return guarded.ToString();
              if (fcntl(memory.get(), F_GET_SEALS) != 0) return "sealed all the same";
              return held.file->alive() ? "" : "the other file ended";
            }),
            "");
}

TEST(PinFileLimits, WithoutThreadsNothingIsMadeUntilThereAreSome) {
  AwaitSleepOfOtherThreads();
  EXPECT_EQ(RunInChild([]() -> Complaint {
              if (!testing::DropPrivilege(1)) return "cannot drop privilege";
              const int before = OpenDescriptors();
              SetLimit(RLIMIT_NPROC, 0);
              auto refused = PinFile::Create();
              if (!absl::IsResourceExhausted(refused.status())) return refused.status().ToString();
              if (OpenDescriptors() != before) return "a descriptor was left";
              SetLimit(RLIMIT_NPROC, 100);
              auto made = PinFile::Create();
              if (!made.ok()) return made.status().ToString();
              close(made->holder_fd);
              return WaitFor("in the child", [&] { return made->file->revoked(); }) ? "" : "lives";
            }),
            "");
}

}  // namespace
}  // namespace linchpin
