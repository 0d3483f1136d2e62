// What being watched costs an munmap: touched memory that Linchpin watches, against the same memory
// unwatched, and against memory that UCX's hooks see.
//
// UCX patches libc's munmap and does not see the system call. So one process can measure all three,
// interleaved: only UCX's contender unmaps through libc.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/contenders/linchpin_contender.h"
#include "bench/contenders/ucx_contender.h"
#include "bench/harness/suite.h"
#include "bench/workload/regions.h"

namespace linchpin::bench {
namespace {

constexpr std::size_t kBytesMost = std::size_t{256} << 20;  // Touched at once.
constexpr std::size_t kMappingsMost = 4096;                 // Of buffers, with as many of guards.

void UnmapBySystemCall(void* address, std::size_t length) {
  if (syscall(SYS_munmap, address, length) != 0) Fail("munmap failed");
}

void UnmapByLibc(void* address, std::size_t length) {
  if (munmap(address, length) != 0) Fail("munmap failed");
}

// Buffers that are mappings of their own, each between two guard pages: side by side they would be
// one mapping, and each munmap would split it.
class Buffers final {
 public:
  explicit Buffers(std::size_t size) : size_(size) {}

  // Maps and touches `count` buffers.
  void Map(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      void* const whole =
          mmap(nullptr, size_ + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (whole == MAP_FAILED) Fail("cannot map a buffer");
      std::byte* const buffer = static_cast<std::byte*>(whole) + kPage;
      if (mprotect(buffer, size_, PROT_READ | PROT_WRITE) != 0) Fail("cannot open a buffer");
      std::memset(buffer, 1, size_);
      requests_.push_back({buffer, size_});
    }
  }

  // The guards stay until no hole between them can be unmapped in error: another thread may have
  // mapped something there since.
  void UnmapGuards() {
    for (const Request& request : requests_) {
      auto* const buffer = static_cast<std::byte*>(request.address);
      UnmapBySystemCall(buffer - kPage, kPage);
      UnmapBySystemCall(buffer + size_, kPage);
    }
    requests_.clear();
  }

  const std::vector<Request>& requests() const { return requests_; }

 private:
  std::size_t size_;
  std::vector<Request> requests_;
};

// Unmaps buffers that `watch` has seen.
Contender Unmapping(std::string name, std::size_t size, void (*unmap)(void*, std::size_t),
                    std::function<void(const Request&)> watch, const Options& options) {
  const auto buffers = std::make_shared<Buffers>(size);
  const auto prepare = [buffers, watch = std::move(watch)](std::size_t count) {
    buffers->Map(count);
    for (const Request& request : buffers->requests()) watch(request);
  };
  const auto run = Clocked([buffers, unmap](std::size_t) {
    for (const Request& request : buffers->requests()) unmap(request.address, request.length);
  });
  const std::size_t most = std::min(kMappingsMost, kBytesMost / size);
  return Timed(std::move(name),
               {.run = run,
                .prepare = prepare,
                .finish = [buffers] { buffers->UnmapGuards(); },
                .operations_max = options.Regions(most)},
               options);
}

std::vector<Row> Run(const std::string& name, std::size_t size, const Options& options) {
  LinchpinContender linchpin;
  UcxContender ucx;
  std::vector<Contender> contenders = {
      Unmapping(
          "unwatched", size, UnmapBySystemCall, [](const Request&) {}, options),
      Unmapping(
          "Linchpin", size, UnmapBySystemCall,
          [&linchpin](const Request& request) { linchpin.Hit(request); }, options)};
  if (UcxContender::kAbsent.empty()) {
    contenders.push_back(Unmapping(
        "UCX's hooks", size, UnmapByLibc, [&ucx](const Request& request) { ucx.Hit(request); },
        options));
  } else {
    contenders.push_back({"UCX's hooks", {}, std::string(UcxContender::kAbsent)});
  }
  const std::vector<Samples> samples = RunRounds(contenders, options.rounds);
  return {Compare(name, samples[1], samples[0]), Compare(name, samples[2], samples[0]),
          Compare(name, samples[1], samples[2])};
}

Scenario ScenarioOf(const std::string& name, std::size_t size) {
  return {name, [name, size](const Options& options) { return Run(name, size, options); }};
}

int Main(int argc, char** argv) {
  const Suite suite = {
      .name = "munmap_bench",
      .purpose = "What being watched costs the munmap of touched memory",
      .scenarios = {ScenarioOf("munmap 1 MiB", std::size_t{1} << 20),
                    ScenarioOf("munmap 64 KiB", std::size_t{64} << 10),
                    ScenarioOf("munmap 4 KiB", kPage)},
      .notes = {"UCX removes what was unmapped in a later call; Linchpin has removed it when "
                "munmap returns, but for the deregistration"}};
  return RunSuite(suite, argc, argv);
}

}  // namespace
}  // namespace linchpin::bench

int main(int argc, char** argv) {
  return linchpin::bench::Main(argc, argv);
}
