#include "bench/workload/regions.h"

#include <sys/mman.h>

#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "bench/harness/options.h"

namespace linchpin::bench {
namespace {

void* At(std::size_t offset) {
  return reinterpret_cast<void*>(offset);
}

std::size_t StreamLength(std::size_t regions) {
  std::size_t length = std::size_t{1} << 15;  // Fits the L2 cache beside the smaller indices.
  while (length < regions) length *= 2;
  return length;
}

}  // namespace

Regions Regions::Strided(std::size_t count) {
  std::vector<Request> offsets(count);
  for (std::size_t i = 0; i < count; ++i) offsets[i] = {At(i * 2 * kPage), kPage};
  return {std::move(offsets), count * 2 * kPage};
}

Regions Regions::Mixed(std::size_t count) {
  constexpr double kMagnitudes = 14;  // 64 MiB are 2^14 pages.
  std::mt19937_64 random(3);          // NOLINT(bugprone-random-generator-seed): the same each time.
  std::uniform_real_distribution<double> magnitude(0, kMagnitudes);
  std::vector<Request> offsets(count);
  std::size_t at = 0;
  for (Request& request : offsets) {
    const auto pages = static_cast<std::size_t>(std::exp2(magnitude(random)));
    request = {At(at), pages * kPage};
    at += (pages + 1) * kPage;
  }
  return {std::move(offsets), at};
}

Regions Regions::Unaligned(std::size_t count) {
  constexpr std::size_t kInto = 16;
  constexpr std::size_t kWhole = 16 * kPage;
  std::vector<Request> offsets(count);
  for (std::size_t i = 0; i < count; ++i) {
    offsets[i] = {At(i * (kWhole + kPage) + kInto), kWhole - kInto};
  }
  return {std::move(offsets), count * (kWhole + kPage)};
}

Regions::Regions(std::vector<Request> offsets, std::size_t bytes)
    : bytes_(bytes), requests_(std::move(offsets)) {
  void* const base = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    Fail("cannot map " + std::to_string(bytes_ >> 20) +
         " MiB of address space, never touched: " + std::generic_category().message(errno) +
         "; vm.overcommit_memory=2 or RLIMIT_AS may forbid it");
  }
  base_ = static_cast<std::byte*>(base);
  for (Request& request : requests_) {
    request.address = base_ + reinterpret_cast<std::uintptr_t>(request.address);
  }
}

Regions::Regions(Regions&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      bytes_(other.bytes_),
      requests_(std::move(other.requests_)) {}

Regions::~Regions() {
  if (base_ != nullptr) munmap(base_, bytes_);
}

Range Regions::Span(std::size_t first, std::size_t count) const {
  const Request& last = requests_[first + count - 1];
  const auto start = reinterpret_cast<std::uintptr_t>(requests_[first].address);
  return {start, reinterpret_cast<std::uintptr_t>(last.address) + last.length};
}

RequestStream RequestStream::Hot(const Regions& regions, std::size_t index) {
  return RequestStream({regions[index]});
}

RequestStream RequestStream::Random(const Regions& regions, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<std::size_t> index(0, regions.size() - 1);
  std::vector<Request> requests(StreamLength(regions.size()));
  for (Request& request : requests) request = regions[index(random)];
  return RequestStream(std::move(requests));
}

}  // namespace linchpin::bench
