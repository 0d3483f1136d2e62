// What auditing adds to a hit: against the same hit without, and against the system calls alone
// that read the same entries of the page map.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/contenders/linchpin_contender.h"
#include "bench/harness/suite.h"
#include "bench/workload/regions.h"
#include "lib/base/fd.h"

namespace linchpin::bench {
namespace {

// One request, all of it touched: only of pages that are there is there a frame to compare.
class Touched final {
 public:
  explicit Touched(std::size_t bytes) : bytes_(bytes) {
    data_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                 -1, 0);
    if (data_ == MAP_FAILED) Fail("no memory to register");
  }
  Touched(const Touched&) = delete;
  Touched& operator=(const Touched&) = delete;
  ~Touched() { munmap(data_, bytes_); }

  Request request() const { return {data_, bytes_}; }

 private:
  const std::size_t bytes_;
  void* data_;
};

Contender Hits(std::string name, LinchpinContender& cache, const Request& request,
               const Options& options) {
  cache.Hit(request);  // From here on they are hits.
  return Timed(std::move(name), {.run = Clocked([&cache, request](std::size_t count) {
                                   for (std::size_t i = 0; i < count; ++i) cache.Hit(request);
                                 })},
               options);
}

// Reads the entries of the request's first page and its last, or of all its pages in one call.
Contender Reads(std::string name, bool all, const Request& request, const Options& options) {
  const auto map = std::make_shared<Fd>(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  const std::size_t pages = request.length / kPage;
  const auto buffer = std::make_shared<std::vector<std::uint64_t>>(all ? pages : 1);
  const std::uint64_t first = reinterpret_cast<std::uintptr_t>(request.address) / kPage;
  std::vector<off_t> offsets = {static_cast<off_t>(first * sizeof(std::uint64_t))};
  if (!all && pages > 1) {
    offsets.push_back(static_cast<off_t>((first + pages - 1) * sizeof(std::uint64_t)));
  }
  const auto run = [map, buffer, offsets](std::size_t count) {
    const std::size_t bytes = buffer->size() * sizeof(std::uint64_t);
    for (std::size_t i = 0; i < count; ++i) {
      for (const off_t offset : offsets) {
        if (pread(map->get(), buffer->data(), bytes, offset) < 0) Fail("pread failed");
      }
    }
  };
  return Timed(std::move(name), {.run = Clocked(run)}, options);
}

std::vector<Row> Compared(const std::string& name, std::size_t bytes, Audit audit,
                          const Options& options) {
  const Touched memory(bytes);
  LinchpinContender audited(Freshness::kSynchronised, nullptr, audit);
  LinchpinContender plain;
  const std::vector<Samples> samples =
      RunRounds({Hits("audited hit", audited, memory.request(), options),
                 Hits("hit", plain, memory.request(), options),
                 Reads("pread of the page map", audit == Audit::kAll, memory.request(), options)},
                options.rounds);
  const CacheStats stats = audited.cache().stats();
  if (stats.audits == 0) Skip("frame numbers are not shown to this process; run as root");
  if (stats.audit_findings != 0) Fail("the audit found a change where there is none");
  return CompareFirst(name, samples);
}

Scenario Auditing(const std::string& what, std::size_t bytes, Audit audit) {
  const std::string name = what + (audit == Audit::kAll ? ", all pages" : ", first and last page");
  return {name, [=](const Options& options) { return Compared(name, bytes, audit, options); }};
}

int Main(int argc, char** argv) {
  constexpr std::size_t kKiB = 1024;
  const Suite suite = {.name = "audit_bench",
                       .purpose = "What auditing adds to a hit",
                       .scenarios = {Auditing("4 KiB", 4 * kKiB, Audit::kAll),
                                     Auditing("64 KiB", 64 * kKiB, Audit::kEnds),
                                     Auditing("64 KiB", 64 * kKiB, Audit::kAll),
                                     Auditing("1 MiB", 1024 * kKiB, Audit::kEnds),
                                     Auditing("1 MiB", 1024 * kKiB, Audit::kAll)}};
  return RunSuite(suite, argc, argv);
}

}  // namespace
}  // namespace linchpin::bench

int main(int argc, char** argv) {
  return linchpin::bench::Main(argc, argv);
}
