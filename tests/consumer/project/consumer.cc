// A user's program: leases two buffers from a cache, writes one into the other over the loopback
// device, and compares the bytes. Exit status 0 and "ok: ..." when they arrived, 77 and
// "skipped: ..." where there can be no loopback device.
#include <linchpin/linchpin.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kBytes = 64 * 1024;

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "failed: %s\n", status.ToString().c_str());
  return 1;
}

// Returns: 0 when the bytes of `source` arrived in `target`.
int WriteAndCompare(linchpin::LoopbackDevice& device, linchpin::RegistrationCache& cache,
                    const std::vector<std::uint8_t>& source,
                    const std::vector<std::uint8_t>& target) {
  using linchpin::Access;
  auto from = cache.Acquire(source.data(), source.size(), Access::kLocalRead);
  if (!from.ok()) return Fail(from.status());
  auto to = cache.Acquire(target.data(), target.size(), Access::kLocalWrite | Access::kRemoteWrite);
  if (!to.ok()) return Fail(to.status());

  const linchpin::LocalExtent extent{source.data(), source.size(), from->lkey()};
  const linchpin::RemoteExtent remote{reinterpret_cast<std::uintptr_t>(target.data()), to->rkey()};
  const linchpin::Completion completion = device.Write({&extent, 1}, remote);
  if (completion != linchpin::Completion::kSuccess) {
    std::fprintf(stderr, "failed: %s\n", std::string(linchpin::ToString(completion)).c_str());
    return 1;
  }
  if (source != target) {
    std::fprintf(stderr, "failed: the bytes differ\n");
    return 1;
  }
  return 0;
}

}  // namespace

int main() {
  auto device = linchpin::LoopbackDevice::Create();
  if (absl::IsUnavailable(device.status())) {
    std::printf("skipped: %s\n", device.status().ToString().c_str());
    return 77;
  }
  if (!device.ok()) return Fail(device.status());
  auto cache = linchpin::RegistrationCache::Create(*device);
  if (!cache.ok()) return Fail(cache.status());

  std::vector<std::uint8_t> source(kBytes);
  std::vector<std::uint8_t> target(kBytes);
  for (int round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < kBytes; ++i) {
      source[i] = static_cast<std::uint8_t>(i * 7 + i / 256 + static_cast<std::size_t>(round) + 1);
    }
    if (int failed = WriteAndCompare(**device, **cache, source, target); failed != 0) return failed;
  }
  const linchpin::CacheStats stats = (*cache)->stats();
  if (absl::Status closed = (*cache)->Close(absl::Seconds(30)); !closed.ok()) return Fail(closed);
  std::printf("ok: %zu bytes arrived twice, with %llu registrations and %llu hits\n", kBytes,
              static_cast<unsigned long long>(stats.registrations),
              static_cast<unsigned long long>(stats.hits));
  return 0;
}
