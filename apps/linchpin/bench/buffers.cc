// Patterns are made word by word: verification must not take longer than the transfers.
#include "apps/linchpin/bench/buffers.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"

namespace linchpin {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kWord = sizeof(std::uint64_t);

// The finalizer of splitmix64: every bit of the seed changes half of the bits of the result.
std::uint64_t Mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

}  // namespace

std::size_t BufferSet::Stride(std::size_t size) {
  return (size + kPage - 1) / kPage * kPage;
}

absl::StatusOr<BufferSet> BufferSet::Map(std::size_t size, std::size_t count) {
  const std::size_t bytes = Stride(size) * count;
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (base == MAP_FAILED) {
    return ErrnoToStatus(errno, absl::StrCat("mmap of ", bytes, " bytes of buffers"),
                         "give a smaller --size or fewer --buffers");
  }
  return BufferSet(static_cast<std::byte*>(base), size, count);
}

BufferSet::BufferSet(BufferSet&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      size_(other.size_),
      stride_(other.stride_),
      count_(other.count_) {}

BufferSet::~BufferSet() {
  if (base_ != nullptr) munmap(base_, stride_ * count_);
}

Range BufferSet::range(std::size_t index) const {
  const auto start = reinterpret_cast<std::uintptr_t>(at(index));
  return {start, start + size_};
}

Pattern::Pattern(Key key)
    : seed_(Mixed(Mixed((std::uint64_t{key.strategy} << 32) + key.round + 1) + key.buffer)) {}

std::uint64_t Pattern::WordAt(std::size_t index) const {
  const std::uint64_t word = (seed_ + index) * 0x9E3779B97F4A7C15U;
  return word ^ (word >> 32);
}

void Pattern::Fill(std::byte* data, std::size_t size) const {
  for (std::size_t offset = 0; offset < size; offset += kWord) {
    const std::uint64_t word = WordAt(offset / kWord);
    std::memcpy(data + offset, &word, std::min(kWord, size - offset));
  }
}

void Pattern::FillWrong(std::byte* data, std::size_t size) const {
  for (std::size_t offset = 0; offset < size; offset += kWord) {
    const std::uint64_t word = ~WordAt(offset / kWord);
    std::memcpy(data + offset, &word, std::min(kWord, size - offset));
  }
}

std::size_t Pattern::CountWrong(const std::byte* data, std::size_t size) const {
  std::size_t wrong = 0;
  for (std::size_t offset = 0; offset < size; offset += kWord) {
    const std::size_t length = std::min(kWord, size - offset);
    const std::uint64_t expected = WordAt(offset / kWord);
    std::uint64_t found = expected;
    std::memcpy(&found, data + offset, length);
    for (std::uint64_t difference = found ^ expected; difference != 0; difference >>= 8) {
      if ((difference & 0xFF) != 0) ++wrong;
    }
  }
  return wrong;
}

}  // namespace linchpin
