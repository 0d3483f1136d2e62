// Races of pin files (docs/concurrency.md, P1 to P6): claims and clients that end while files are
// revoked, from several threads. What is checked is that nothing is lost, called late, or left.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/fd.h"
#include "lib/pin/pin_file_core.h"
#include "linchpin/pin.h"
#include "tests/pin/pin_file_client.h"
#include "tests/testing/fake_registrar.h"

namespace linchpin {
namespace {

using internal::PinFileClient;
using internal::PinFileCore;
using testing::FakeRegistrar;
using testing::Owner;

// WaitFor without a line for each of hundreds of rounds.
bool Comes(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

void Together(const std::vector<std::function<void()>>& bodies) {
  std::atomic<int> ready{0};
  std::vector<std::thread> threads;
  for (const auto& body : bodies) {
    threads.emplace_back([&ready, &bodies, &body] {
      ++ready;
      while (ready < static_cast<int>(bodies.size())) std::this_thread::yield();
      body();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Poisoned when it is destroyed: a call that comes later finds it so.
class Mortal final : public PinFileClient {
 public:
  explicit Mortal(std::atomic<int>& late) : late_(late) {}
  ~Mortal() override { alive_ = false; }
  void OnClosing(const PinFileCore&) override { Look(); }
  void OnRevoke(const PinFileCore&) override { Look(); }
  void OnSync(const PinFileCore&, std::vector<Range>&) override { Look(); }

 private:
  void Look() {
    if (!alive_) ++late_;
    std::this_thread::yield();
    if (!alive_) ++late_;
  }
  std::atomic<int>& late_;
  std::atomic<bool> alive_{true};
};

// P1. A client is destroyed right after its last EndClaim, against Revoke and Sync.
TEST(PinFileRace, AClientIsNotCalledAfterItsLastClaimEnded) {
  std::atomic<int> late{0};
  for (int round = 0; round < 300; ++round) {
    const Owner held = Owner();
    const auto core = PinFileCore::Of(*held.file);
    const auto live = [&] {
      for (int i = 0; i < 20; ++i) {
        auto client = std::make_unique<Mortal>(late);
        if (!core->BeginClaim(*client).ok()) return;
        core->EndClaim(*client);
      }
    };
    Together({live, live, [&] { EXPECT_TRUE(held.file->Sync().ok()); },
              [&] { EXPECT_TRUE(held.file->Revoke(absl::Seconds(20)).ok()); }});
    EXPECT_TRUE(held.file->revoked());
  }
  EXPECT_EQ(late, 0);
}

// P2. Claims begin against the end: each that begins is told of the end, or ends before.
TEST(PinFileRace, AClaimBeginsOrIsRefusedAndNoneIsForgotten) {
  std::atomic<int> begun{0};
  std::atomic<int> taken{0};
  for (int round = 0; round < 200; ++round) {
    Owner held = Owner();
    std::vector<std::unique_ptr<testing::FakeClient>> clients;
    for (int i = 0; i < 8; ++i) clients.push_back(std::make_unique<testing::FakeClient>());
    const auto begin = [&](int first) {
      for (int i = first; i < first + 4; ++i) {
        auto& client = *clients[static_cast<std::size_t>(i)];
        client.on_revoke = [&](const PinFileCore&) { ++taken; };
        if (PinFileCore::Of(*held.file)->BeginClaim(client).ok()) ++begun;
      }
    };
    Together({[&] { begin(0); }, [&] { begin(4); }, [&] { held.holder.Reset(-1); }});
    ASSERT_TRUE(Comes([&] { return taken == begun && !held.file->alive(); }));
    const auto core = PinFileCore::Of(*held.file);
    for (const auto& client : clients) {
      if (client->revocations > 0) core->EndClaim(*client);
    }
    ASSERT_TRUE(held.file->Close().ok());
  }
}

// P3. The last reference of a pin goes against the revocation: deregistered once.
TEST(PinFileRace, APinIsTakenDownOnce) {
  auto registrar = std::make_shared<FakeRegistrar>();
  PinRequest request;
  void* const page =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  request.range.start = reinterpret_cast<std::uintptr_t>(page);
  request.range.end = request.range.start + 4096;
  for (int round = 0; round < 300; ++round) {
    Owner held = Owner();
    request.file = held.file;
    auto pin = PinVaddr(registrar, request);
    ASSERT_TRUE(pin.ok()) << pin.status().ToString();
    VaddrPin one = *std::move(pin);
    VaddrPin other = one.Ref();
    Together({[&] { one = VaddrPin(); }, [&] { other = VaddrPin(); },
              [&] { held.holder.Reset(-1); },
              [&] { EXPECT_TRUE(held.file->Revoke(absl::ZeroDuration()).ok()); }});
    EXPECT_TRUE(held.file->Close().ok());
    EXPECT_EQ(registrar->registered_count(), 0U);
    request.file = nullptr;
  }
  munmap(page, 4096);
}

// P4. A pin is made against the end of its file: given and then revoked, or not given.
TEST(PinFileRace, APinThatIsBeingMadeIsGivenOrTakenDown) {
  auto registrar = std::make_shared<FakeRegistrar>();
  registrar->OnRegister([](Range, Access) {
    std::this_thread::yield();
    return absl::OkStatus();
  });
  PinRequest request;
  void* const page =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  request.range.start = reinterpret_cast<std::uintptr_t>(page);
  request.range.end = request.range.start + 4096;
  for (int round = 0; round < 300; ++round) {
    Owner held = Owner();
    request.file = held.file;
    VaddrPin made;
    Together({[&] {
                auto pin = PinVaddr(registrar, request);
                if (pin.ok()) made = *std::move(pin);
              },
              [&] { held.holder.Reset(-1); }});
    ASSERT_TRUE(Comes([&] { return registrar->registered_count() == 0; }));
    if (made) {
      EXPECT_TRUE(made.revoked());
    }
    request.file = nullptr;
  }
  munmap(page, 4096);
}

// P5. The PinFile is destroyed against the end of its holder and of its last claim.
TEST(PinFileRace, AFileThatIsDestroyedWhileItEndsEndsOnce) {
  for (int round = 0; round < 300; ++round) {
    Owner held = Owner();
    const std::weak_ptr<PinFileCore> core = PinFileCore::Of(*held.file);
    auto client = std::make_unique<testing::FakeClient>();
    client->on_revoke = [](const PinFileCore&) {};
    ASSERT_TRUE(client->Begin(*held.file).ok());
    Together({[&] { held.file.reset(); }, [&] { shutdown(held.holder.get(), SHUT_RDWR); },
              [&] { client->EndAll(); }});
    client.reset();
    ASSERT_TRUE(Comes([&] { return core.expired(); }));
  }
}

}  // namespace
}  // namespace linchpin
